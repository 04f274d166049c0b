"""Scans of many clips, kept: a clip is decoded once while its file keeps its size and time of change."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from antiphon.audio.decode import FileClip
from antiphon.data import cache
from antiphon.data.arrow import pc
from antiphon.data.indexed import Indexed, Joined
from antiphon.data.scan import Scan, clip_of, path_of, reference, scan
from antiphon.data.workers import IN_PROCESSES, cores, scans, threaded
from antiphon.types import Example, Seconds

WORTH_KEEPING = 2048
"""Clips of a set from which on their scans are kept."""
OnProgress = Callable[[int, int], None]
"""Called with the number of clips scanned so far, and of all."""
_SAVED_EVERY = 15.0
"""Seconds of work that an interruption may lose."""
_FORM = 1
_FIELDS = {
    "seconds": pa.float64(),
    "decoded": pa.bool_(),
    "rate": pa.int32(),
    "channels": pa.int32(),
    "format": pa.string(),
    "peak": pa.float32(),
    "rms": pa.float32(),
    "clipped": pa.float32(),
    "cancelled": pa.float32(),
    "digest": pa.string(),
    "note": pa.string(),
    "fault": pa.string(),
    "passing": pa.bool_(),
}
SCHEMA = pa.schema(_FIELDS)
"""The columns of `Scan`; all are null for an example without a clip."""
_KEPT = pa.schema({"clip": pa.string(), "size": pa.int64(), "mtime": pa.int64(), **_FIELDS})


def scan_all(
    examples: Sequence[Example],
    source: str,
    longest: Seconds | None = None,
    on_progress: OnProgress | None = None,
    synthetic: bool = True,
) -> pa.Table:
    """The scan of every example, a row each (`SCHEMA`). Clips that occur several times are decoded once.

    Scans of large sets are kept under the name `source`. Without `synthetic`, speech that is made when it is needed is
    left out, like rows without a clip.
    """
    clips = references(examples).combine_chunks()
    silent = pc.equal(clips, "")
    told = _Progress(on_progress, len(examples) - (pc.sum(silent).as_py() or 0))
    coded = pc.if_else(silent, None, clips).dictionary_encode()
    local = _scan_local(coded.dictionary, source, longest, told, coded.indices)
    taken = local.take(coded.indices) if len(local) else unknown(len(examples))
    others = [
        place
        for place in np.flatnonzero(np.asarray(pc.is_null(clips))).tolist()
        if synthetic or isinstance(examples[place].clip, FileClip)
    ]
    return _with_others(taken, others, examples, longest, told) if others else taken


class _Progress:
    def __init__(self, tell: OnProgress | None, total: int) -> None:
        self._tell, self._done, self._total = tell, 0, total

    def __call__(self, more: int) -> None:
        self._done += more
        if self._tell and more:
            self._tell(self._done, self._total)


def references(examples: Sequence[Example]) -> pa.ChunkedArray:
    """The `scan.reference` of every example's clip."""
    if isinstance(examples, Indexed):
        return examples.table["clip"]
    if isinstance(examples, Joined):
        return pa.chunked_array([chunk for part in examples.parts for chunk in references(part).chunks], pa.string())
    return pa.chunked_array([pa.array([reference(example.clip) for example in examples], pa.string())])


def _scan_local(clips: pa.Array, source: str, longest: Seconds | None, told: _Progress, indices: pa.Array) -> pa.Table:
    """The scan of each of `clips`, references that are all different."""
    used = np.bincount(indices.drop_null().to_numpy(), minlength=len(clips))
    keep = len(clips) >= WORTH_KEEPING
    store = _Store(source) if keep else None
    stamps = _stamps(clips) if keep else np.zeros((len(clips), 2), np.int64)
    known = store.known(clips, stamps, longest) if store else None
    found = np.asarray(known.pop("known")) if known else np.zeros(len(clips), bool)
    told(int(used[found].sum()))
    rest = np.flatnonzero(~found)
    wanted = clips.take(pa.array(rest)).to_pylist()
    made: list[Scan] = []
    saved, since = 0, time.monotonic()
    results = (
        scans(wanted, longest, cores())
        if len(wanted) >= IN_PROCESSES
        else threaded(lambda one: scan(clip_of(one), longest), wanted, cores())
    )
    try:
        for place, one in zip(rest, results, strict=True):
            assert one is not None
            made.append(one)
            told(int(used[place]))
            if store and time.monotonic() - since > _SAVED_EVERY:
                store.add(wanted[saved : len(made)], stamps[rest[saved : len(made)]], made[saved:])
                saved, since = len(made), time.monotonic()
    finally:
        if store and len(made) > saved:
            store.add(wanted[saved : len(made)], stamps[rest[saved : len(made)]], made[saved:])
    if store and len(rest):
        store.merge()
    fresh = _table(made)
    if known is None:
        return fresh
    order = np.empty(len(clips), np.int64)
    order[found], order[rest] = np.flatnonzero(found), len(clips) + np.arange(len(rest))
    return pa.concat_tables([pa.table(known, SCHEMA), fresh]).take(pa.array(order))


def _stamps(clips: pa.Array) -> np.ndarray:
    """Size and time of change of each clip's file [clips, 2]; -1 where there is none."""
    seen: dict[str, tuple[int, int]] = {}
    stamps = np.empty((len(clips), 2), np.int64)
    for place, clip in enumerate(clips.to_pylist()):
        path = path_of(clip)
        stamp = seen.get(path)
        if stamp is None:
            try:
                status = os.stat(path)  # noqa: PTH116
                stamp = status.st_size, status.st_mtime_ns
            except (OSError, ValueError):
                stamp = -1, -1
            seen[path] = stamp
        stamps[place] = stamp
    return stamps


def _table(found: Sequence[Scan]) -> pa.Table:
    columns = list(zip(*found, strict=True)) or [[]] * len(_FIELDS)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, _FIELDS.values(), strict=True)], SCHEMA)


def unknown(rows: int) -> pa.Table:
    """Scans of clips of which nothing is known."""
    return pa.table([pa.nulls(rows, kind) for kind in _FIELDS.values()], SCHEMA)


def _with_others(
    taken: pa.Table, others: list[int], examples: Sequence[Example], longest: Seconds | None, told: _Progress
) -> pa.Table:
    """Scan what only this process can read: recordings that are embedded, and synthetic speech."""
    made: list[Scan] = []
    for found in threaded(lambda place: scan(examples[place].clip, longest), others, cores()):
        assert found is not None
        made.append(found)
        told(1)
    order = np.arange(len(examples))
    order[others] = len(examples) + np.arange(len(others))
    return pa.concat_tables([taken, _table(made)]).take(pa.array(order))


class _Store:
    """A folder of tables that are only ever added and replaced whole, so that several runs may use it at once."""

    def __init__(self, source: str) -> None:
        name = str(Path(source).absolute()) if Path(source).exists() else source
        versions = _FORM, version("antiphon"), soundfile.__libsndfile_version__
        self._folder = cache.folder() / "scans" / cache.digest(*versions, name)
        self._read: list[Path] = []

    def known(self, clips: pa.Array, stamps: np.ndarray, longest: Seconds | None) -> dict[str, pa.Array] | None:
        """The columns of the scans of `clips`, and which of them are `known`; None if nothing is kept."""
        tables = []
        for path in self._files():
            kept = cache.read_table(path, _KEPT)
            if kept:
                tables.append(kept[0])
                self._read.append(path)
        if not tables:
            return None
        whole = pa.concat_tables(reversed(tables)).combine_chunks()  # The newest first: the first that is found counts.
        at = pc.index_in(clips, whole["clip"])
        rows = whole.take(at)
        known = np.asarray(pc.is_valid(at)) & (stamps[:, 0] >= 0)
        for name, stamp in (("size", stamps[:, 0]), ("mtime", stamps[:, 1])):
            known &= np.asarray(pc.fill_null(pc.equal(rows[name], pa.array(stamp)), False))
        usable = rows["decoded"]
        if longest is not None:
            usable = pc.or_kleene(usable, pc.greater(rows["seconds"], longest))
        usable = pc.or_kleene(usable, pc.and_(pc.is_valid(rows["fault"]), pc.invert(rows["passing"])))
        known &= np.asarray(pc.fill_null(usable, False))
        return {"known": pa.array(known), **{name: rows[name].combine_chunks() for name in _FIELDS}}

    def add(self, clips: Sequence[str], stamps: np.ndarray, found: Sequence[Scan]) -> None:
        table = _table(found)
        columns = [pa.array(clips, pa.string()), pa.array(stamps[:, 0]), pa.array(stamps[:, 1]), *table.columns]
        path = self._folder / f"{uuid.uuid4().hex}.arrow"
        cache.write_table(path, pa.table(columns, _KEPT))

    def merge(self) -> None:
        """Make one file of all, the newest scan of each clip."""
        files = self._files()
        if len(files) < 2:
            return
        kept = [(path, read[0]) for path in files if (read := cache.read_table(path, _KEPT))]
        whole = pa.concat_tables([table for _, table in reversed(kept)])
        last = pc.index_in(whole["clip"].unique(), whole["clip"].combine_chunks())
        cache.write_table(self._folder / f"{uuid.uuid4().hex}.arrow", whole.take(last))
        for path, _ in kept:
            with suppress(OSError):
                path.unlink()

    def _files(self) -> list[Path]:
        """The oldest first."""
        with suppress(OSError):
            return sorted(self._folder.glob("[!.]*.arrow"), key=lambda path: path.stat().st_mtime_ns)
        return []
