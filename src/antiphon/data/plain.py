"""Reads many JSONL rows at once that are plain: a path, a text, and at most an id, times, a language and a speaker.

Most rows of large sets are plain. Arrow reads these many times faster than row by row; what is known of them here is
what `antiphon.data.examples` says of the same rows. Every doubt leaves a row to that module.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from antiphon.data.arrow import pc
from antiphon.data.channels import FIELD as CHANNEL
from antiphon.data.channels import channel_of
from antiphon.data.examples import Maker
from antiphon.data.fields import USUAL, fields_of, has_rivals
from antiphon.data.rows import FIELDS, ReadOptions
from antiphon.data.scan import of_file, of_stated
from antiphon.tasks.request import CONVERSATIONS, HOT_WORDS

_BY_ROW = {"task", "context", "reward_model", CHANNEL, *CONVERSATIONS, *HOT_WORDS}
"""Columns that change what a row is or asks: rows with a value there are not plain."""
_NAMES = {*FIELDS, *(name for names in USUAL.values() for name in names)}
_WORDS = ("id", "language", "speaker")
_TIMES = ("begin_time", "end_time")
_ODD_PATH = r"""^$|[\x00-\x1f"\\]|^~|^[A-Za-z][A-Za-z0-9+.-]*:|//|(^|/)\.{1,2}(/|$)|/$"""
"""Paths that are URLs, that JSON escapes, or that are not in the form which `Path` gives them."""
_ODD_TEXT = "<"
"""Begins control tokens and the frames of some models' transcripts."""


def read(
    block: bytes, lines: int, folder: Path, make: Maker, options: ReadOptions
) -> tuple[np.ndarray, pa.Table] | None:
    """Which of the block's `lines` rows are plain [lines, bool], and for all of them `id`, `text`, `language`,
    `speaker`, `clip` (`scan.reference`) and `named`, whether the id is the row's own; None if it cannot say.

    Each line of `block` begins with "{" and ends with "}".
    """
    whole = _table(block, options)
    if whole is None or len(whole) != lines:
        return None
    present = set(whole.column_names)
    keys = fields_of(whole.column_names, options.columns)
    found = {name: whole[key].combine_chunks() for name, key in keys.items() if key in present}
    if not {"audio", "text"} <= set(found) or has_rivals(whole.column_names, options.columns):
        return None
    lasting = "duration" in found and "end_time" not in found
    stated = lasting and keys["audio"] == "audio_filepath" and "begin_time" not in found
    times = (*_TIMES, "duration") if stated or (lasting and "begin_time" in found) else _TIMES
    for names, kind in ((_WORDS, pa.string()), (times, pa.float64())):
        for name in names:
            if name in found and pa.types.is_integer(found[name].type):
                found[name] = found[name].cast(kind, safe=False)
    if any(name in found and not pa.types.is_floating(found[name].type) for name in times) or any(
        not pa.types.is_string(found[name].type) for name in ("audio", "text", *_WORDS) if name in found
    ):
        return None
    if "duration" in times and not stated:
        found["end_time"] = pc.add(found["begin_time"], found["duration"])
    plain = np.ones(lines, bool)
    for name in present & _BY_ROW:
        plain &= _numpy(pc.is_null(whole[name]))
    for name in present & (_NAMES | set(keys.values())) - _BY_ROW:
        plain &= _numpy(pc.is_valid(whole[name]))
    plain &= _values_are_plain(found, times)
    if plain.any():
        make.note(keys, present)
    return plain, _columns(found, plain, folder, make, options, stated)


def _table(block: bytes, options: ReadOptions) -> pa.Table | None:
    """The block as Arrow reads it; text stays text also where Arrow would see a date."""
    try:
        row = json.loads(block[: block.find(b"\n") % (len(block) + 1)])
        keys = fields_of(row, options.columns)
        strings = [keys[name] for name in ("audio", "text", *_WORDS) if isinstance(row.get(keys.get(name, "")), str)]
        times = [keys[name] for name in _TIMES if keys.get(name) in row]
        schema = pa.schema({**dict.fromkeys(strings, pa.string()), **dict.fromkeys(times, pa.float64())})
        how = pj.ReadOptions(block_size=len(block) + 1)
        table = pj.read_json(pa.BufferReader(block), how, pj.ParseOptions(explicit_schema=schema))
        table.validate(full=True)
    except (pa.ArrowException, ValueError, RecursionError):
        return None
    return table


def _values_are_plain(found: Mapping[str, pa.Array], times: Sequence[str]) -> np.ndarray:
    plain = ~_numpy(pc.match_substring_regex(found["audio"], _ODD_PATH))
    plain &= ~_numpy(pc.match_substring(found["text"], _ODD_TEXT))
    for name in {*_WORDS} & set(found):
        plain &= _numpy(pc.not_equal(found[name], ""))
    for name in {*times} & set(found):
        plain &= _numpy(pc.and_(pc.greater_equal(found[name], 0.0), pc.less(found[name], 1e9)))
    return plain


def _columns(
    found: Mapping[str, pa.Array], plain: np.ndarray, folder: Path, make: Maker, options: ReadOptions, stated: bool
) -> pa.Table:
    audio, count = found["audio"], len(plain)
    whole = pc.starts_with(audio, "/")
    paths = audio if folder == Path() else pc.binary_join_element_wise(str(folder), audio, "/")
    paths = pc.if_else(whole, audio, paths)
    times = [found.get(name, pa.nulls(count, pa.float64())) for name in _TIMES]
    channel = channel_of({}, options.channel)
    if stated:
        lasting = zip(paths.to_pylist(), found["duration"].to_pylist(), strict=True)
        clips = pa.array([of_stated(path or "", channel, duration) for path, duration in lasting], pa.string())
    elif channel != "mix" or options.end_slack != ReadOptions.end_slack:
        spans = zip(paths.to_pylist(), times[0].to_pylist(), times[1].to_pylist(), strict=True)
        clips = pa.array([of_file(path or "", *span, channel, options.end_slack) for path, *span in spans], pa.string())
    elif any(name in found for name in _TIMES):
        spans = zip(paths.to_pylist(), times[0].to_pylist(), times[1].to_pylist(), strict=True)
        clips = pa.array([_segment(*span) for span in spans], pa.string())
    else:
        clips = pc.binary_join_element_wise('["', paths, '"]', "")
    heard = f"\n{channel}" if isinstance(channel, int) else ""
    ids = found.get("id")
    if ids is None:
        rows = zip(audio.to_pylist(), times[0].to_pylist(), times[1].to_pylist(), plain.tolist(), strict=True)
        ids = pa.array(
            [
                make.hashed(f"{_below(name, folder)}\n{begin or 0.0}\n{end}{heard}") if good else ""
                for name, begin, end, good in rows
            ],
            pa.string(),
        )
    words = {name: found.get(name, pa.nulls(count, pa.string())) for name in ("language", "speaker")}
    named = pa.array(np.full(count, "id" in found))
    asks = pa.array(np.zeros(count, bool))
    return pa.table({"id": ids, "text": found["text"], **words, "clip": clips, "named": named, "asks": asks})


def _segment(path: str | None, begin: float | None, end: float | None) -> str:
    """What `scan.of_file` makes of a plain path, ten times faster."""
    first = "null" if begin is None else begin
    return f'["{path}", {first}, {end}]' if end is not None else f'["{path}", {first}]'


def _below(name: str, folder: Path) -> str:
    """A plain path as seen from `folder`."""
    if not name.startswith("/"):
        return name
    parent, _, last = name.rpartition("/")
    return _relative(parent or "/", str(folder)) + last


@lru_cache(maxsize=1 << 14)
def _relative(folder: str, start: str) -> str:
    relative = os.path.relpath(folder, start)
    return "" if relative == "." else f"{relative}/"


def _numpy(mask: Any) -> np.ndarray:
    return np.asarray(pc.fill_null(mask, False)).copy()
