"""Converts rows of any reader to examples; reports each bad row with its line and the reason."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from antiphon.audio.decode import FileClip
from antiphon.audio.embedded import SCHEME, Embedded, from_uri
from antiphon.data import values
from antiphon.data.rows import FIELDS, BadRow, Line, ReadOptions, Row, Rows, place
from antiphon.errors import ConfigError, DataError, did_you_mean
from antiphon.tasks.load import find_task, task_names
from antiphon.types import Clip, Example, Seconds


def to_examples(spec: str, found: Iterable[Row | BadRow], options: ReadOptions) -> Rows:
    """Make examples of the first `options.limit` rows of `spec`, and collect the bad rows. Audio is not opened.

    A row needs the `fields` of its task, such as a `prompt`; audio is optional if it is not one of them. Without an
    `id`, the id is 16 hexadecimal digits of the SHA-256 of the recording and segment, or of the prompt. Raises
    `ConfigError` if `options` has an unknown field or task.
    """
    for name in options.columns:
        if name not in FIELDS:
            raise ConfigError(_unknown("field in data.columns", name, FIELDS))
    fields = find_task(options.task).fields
    keys = {name: options.columns.get(name, name) for name in FIELDS}
    examples: list[Example] = []
    lines: list[Line] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    first: dict[str, Line] = {}
    for number, row in enumerate(islice(found, options.limit)):
        made = row if isinstance(row, BadRow) else _made(row, row.keys or keys, options, fields, first)
        if isinstance(made, BadRow):
            bad.append(replace(made, number=number))
            continue
        assert isinstance(row, Row)
        first[made.id] = row.line
        examples.append(made)
        lines.append(row.line)
        numbers.append(number)
    return Rows(spec, examples, lines, numbers, bad)


def _made(
    row: Row, keys: Mapping[str, str], options: ReadOptions, fields: Sequence[str], first: Mapping[str, Line]
) -> Example | BadRow:
    """The example of a row; `fields` are those that the task in `options` needs, `first` has the line of each id."""
    id = None
    try:
        id = values.name(row.values, "id", keys)
        example = _example(row, keys, options, fields)
        has_id, id = id is not None, example.id
        if id in first:
            raise DataError(_duplicate(has_id, example.clip is not None, first[id]))
    except DataError as error:
        return BadRow(row.line, id, str(error))
    return example


def _example(row: Row, keys: Mapping[str, str], options: ReadOptions, fields: Sequence[str]) -> Example:
    found = row.values
    task = found.get(keys["task"]) if "task" in keys else None
    if task is not None and task != options.task:
        # A row must not choose code to run.
        if task not in task_names():
            raise DataError(_unknown("task", task, task_names()))
        fields = find_task(task).fields
    task = task or options.task
    begin, end = values.time(found, "begin_time", keys), values.time(found, "end_time", keys)
    audio = None if "audio" not in fields and found.get(keys["audio"]) is None else _recording(row, keys)
    asked = "\n".join(_required(found, name, task) for name in fields if name != "audio") or found.get(keys["text"])
    used = set(keys.values())
    return Example(
        id=values.name(found, "id", keys)
        or (_hash(f"{asked}") if audio is None else _hashed_id(row.folder, audio, begin, end)),
        task=task,
        clip=FileClip(audio, begin, end) if isinstance(audio, Path | Embedded) else audio,
        text=values.text(found, "text", keys, options.text_required),
        language=values.name(found, "language", keys),
        speaker=values.name(found, "speaker", keys),
        columns={key: value for key, value in found.items() if key not in used},
    )


def _recording(row: Row, keys: Mapping[str, str]) -> Path | Embedded | Clip:
    """The recording of a row: a path, data URI or clip, alone or in a list of one."""
    key = keys["audio"]
    value: Any = row.values.get(key)
    if isinstance(value, list):
        if len(value) != 1:
            raise DataError(f'"{key}" lists {len(value)} recordings; a row has one')
        value = value[0]
    if hasattr(value, "load") or isinstance(value, Embedded):
        return value
    if isinstance(value, os.PathLike):
        return row.folder / value
    audio = values.text({**row.values, key: value} if key in row.values else row.values, "audio", keys)
    if audio.startswith(SCHEME):
        return from_uri(audio)
    if not audio or "\0" in audio:
        raise DataError(f'"{key}" is not a path; give the path of an audio file')
    return row.folder / audio


def _required(row: Mapping[str, Any], name: str, task: str) -> str:
    """Another field that the task requires, as text."""
    value = row.get(name)
    if name == "prompt" and not (isinstance(value, str) and value.strip()):
        raise DataError(f'a row of task "{task}" needs a "prompt", the text to answer; add it as a string')
    if value is None:
        raise DataError(f'a row of task "{task}" needs "{name}"; add it')
    return values.encodable(f"{value}", name)


def _hashed_id(folder: Path, audio: Path | Embedded | Clip, begin: Seconds | None, end: Seconds | None) -> str:
    name = Path(os.path.relpath(audio, folder)).as_posix() if isinstance(audio, Path) else audio.name
    return _hash(f"{name}\n{begin or 0.0}\n{end}")


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _duplicate(has_id: bool, has_audio: bool, first: Line) -> str:
    if has_id:
        return f"the same id as {place(first)}; ids must be unique"
    what = "clip and segment" if has_audio else "prompt"
    return f'the same {what} as {place(first)}, and no "id" to tell them apart; add one or remove the row'


def _unknown(what: str, value: object, known: Collection[str]) -> str:
    shown = str(value).encode("utf-8", "backslashreplace").decode()
    hint = did_you_mean(shown, known, "", show='"{}"'.format)
    return " ".join(filter(None, (f'unknown {what} "{shown}";', hint, f"(known: {', '.join(sorted(known))})")))
