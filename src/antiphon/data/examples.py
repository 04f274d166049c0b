"""Converts rows of any reader to examples; reports each bad row with its line and the reason."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from antiphon.audio.decode import FileClip
from antiphon.audio.embedded import Embedded
from antiphon.data import values
from antiphon.data.channels import channel_of, split
from antiphon.data.conversations import unfolded
from antiphon.data.fields import fields_of, require_one
from antiphon.data.files import own_name, recording
from antiphon.data.rows import BadRow, Line, ReadOptions, Row, Rows, place
from antiphon.data.stated import StatedClip
from antiphon.data.transcripts import transcript
from antiphon.errors import DataError
from antiphon.tasks.load import find_task, task_names
from antiphon.tasks.request import request_of
from antiphon.types import Clip, Example

Keys = Mapping[str, str]


class _RepeatedError(DataError):
    """An earlier row has the same id."""


def to_examples(spec: str, found: Iterable[Row | BadRow], options: ReadOptions, format: str = "") -> Rows:
    """Make examples of the first `options.limit` rows of `spec`, and collect the bad rows. Audio is not opened.

    A row needs the `fields` of its task, such as a `prompt`; audio is optional if it is not one of them. Without an
    `id`, the id is 16 hexadecimal digits of the SHA-256 of the set's own name with the recording and segment, or with
    the prompt. Raises `ConfigError` if `options` has an unknown field or task, and `DataError` if two columns could
    both be the audio or the text.
    """
    make = Maker(spec, options)
    rows = Rows(spec, examples := [], lines := [], numbers := [], bad := [], make.columns, format)
    first: dict[str, Line] = {}
    for number, row in enumerate(islice(found, options.limit)):
        made = row if isinstance(row, BadRow) else make(row, first)
        if isinstance(made, BadRow):
            bad.append(replace(made, number=number))
            continue
        assert isinstance(row, Row)
        first[made.id] = row.line
        for heard in split(made) if options.channel == "split" else [made]:
            examples.append(heard)
            lines.append(row.line)
            numbers.append(number)
    return rows


class Maker:
    """Makes examples of the rows of a set."""

    def __init__(self, spec: str, options: ReadOptions) -> None:
        """Raises `ConfigError` if `options` has an unknown field or task."""
        fields_of((), options.columns)
        self._spec, self._options = spec, options
        self._fields, self._own = find_task(options.task).fields, options.own_name or own_name(spec)
        self.columns: dict[str, str] = {}
        """Which column served which field so far (`Rows.columns`)."""
        self._seen: Keys | None = None

    def __call__(self, row: Row, first: Mapping[str, Line] | None = None) -> Example | BadRow:
        """The example of a row; `first` has the line of each id before it.

        Raises `DataError` if two columns could both be the audio or the text.
        """
        keys = row.keys or fields_of(row.values, self._options.columns)
        if keys is not row.keys:
            require_one(row.values, keys, self._options.columns, f"{self._spec}, {place(row.line)}")
        if keys is not self._seen:
            self.note(keys, row.values)
            self._seen = keys
        return _made(row, keys, self._options, self._fields, self._own, first or {})

    def note(self, keys: Keys, names: Container[str]) -> None:
        """Remember which columns served which fields of a row with these `names`."""
        _note(self.columns, keys, names)

    def hashed(self, name: str) -> str:
        """The id of a row that has none, by what tells it from others."""
        return _hash(self._own, name)


def _note(columns: dict[str, str], keys: Keys, row: Container[str]) -> None:
    """Add which columns of a row served which fields."""
    for field, key in keys.items():
        if key in row and key not in columns.get(field, "").split(" or "):
            columns[field] = f"{columns[field]} or {key}" if field in columns else key


def _made(
    row: Row, keys: Keys, options: ReadOptions, fields: Sequence[str], own: str, first: Mapping[str, Line]
) -> Example | BadRow:
    """The example of a row; `fields` are those that the task in `options` needs, `first` has the line of each id."""
    id = None
    try:
        id = values.name(row.values, "id", keys)
        if id in first and keys["id"] != "id" and keys["id"] != options.columns.get("id"):
            id = None  # A column that only looked like an id.
        example = _example(row, id, keys, options, fields, own)
        has_id, id = id is not None, example.id
        if id in first:
            raise _RepeatedError(duplicate(has_id, example.clip is not None, first[id]))
    except DataError as error:
        return BadRow(row.line, id, str(error), repeats=isinstance(error, _RepeatedError))
    return example


def _example(row: Row, id: str | None, keys: Keys, options: ReadOptions, fields: Sequence[str], own: str) -> Example:
    found, keys = unfolded(row.values, keys)
    task = found.get(keys["task"]) if "task" in keys else None
    if task is not None and task != options.task:
        # A row must not choose code to run.
        if task not in task_names():
            raise DataError(values.unknown("task", task, task_names()))
        fields = find_task(task).fields
    task = task or options.task
    heard = "audio" in fields or (_is_stated(row, keys, options) and found.get(keys["audio"]) is not None)
    clip = _clip(row, found, keys, options) if heard else None
    asked = "\n".join(_required(found, name, task) for name in fields if name != "audio")
    text = values.text(found, "text", keys, options.text_required)
    language = values.name(found, "language", keys)
    request_of(found)
    if clip is not None:
        text, spoken = transcript(text)
        language = language or spoken
    used = {key for field, key in keys.items() if field != "duration"}
    return Example(
        id=id or _hash(own, (asked or text) if clip is None else row.name or _name_of(clip, row.folder)),
        task=task,
        clip=clip,
        text=text,
        language=language,
        speaker=values.name(found, "speaker", keys),
        columns={key: value for key, value in found.items() if key not in used},
        line=row.line,
    )


def _is_stated(row: Row, keys: Keys, options: ReadOptions) -> bool:
    """Whether the audio is named as such, and not guessed."""
    return "audio" in keys and (row.keys is not None or keys["audio"] in ("audio", options.columns.get("audio")))


def _clip(row: Row, found: Mapping[str, Any], keys: Keys, options: ReadOptions) -> Clip:
    """The clip of a row: its recording, or the segment of it that the row names."""
    audio = _recording(row, found, keys)
    if not isinstance(audio, Path | Embedded):
        return audio
    channel = channel_of(found, options.channel)
    begin, end = values.time(found, "begin_time", keys), values.time(found, "end_time", keys)
    if end is None and begin is not None and "duration" in keys:
        duration = values.time(found, "duration", keys)
        end = None if duration is None else begin + duration
    if begin is None and end is None and "duration" in keys and keys.get("audio") == "audio_filepath":
        duration = values.time(found, "duration", keys)
        return (
            FileClip(audio, channel=channel)
            if duration is None
            else StatedClip(audio, None, None, channel, duration=duration)
        )
    return FileClip(audio, begin, end, channel, options.end_slack)


def _recording(row: Row, found: Mapping[str, Any], keys: Keys) -> Path | Embedded | Clip:
    """The recording of a row: a path, URL, data URI, clip or cell of `datasets`, alone or in a list of one."""
    key = keys.get("audio", "audio")
    value: Any = found.get(key)
    if isinstance(value, list):
        if len(value) != 1:
            raise DataError(f'"{key}" lists {len(value)} recordings; a row has one')
        value = value[0]
    if isinstance(value, Mapping):
        content = value.get("bytes")
        if isinstance(content, bytes):
            return Embedded(f"{key} of {row.line}, {hashlib.sha256(content).hexdigest()[:16]}", lambda: content)
        value = next((value[name] for name in ("path", "audio", "url") if isinstance(value.get(name), str)), value)
    if hasattr(value, "load") or isinstance(value, Embedded):
        return value
    if isinstance(value, os.PathLike):
        return Path(row.folder) / value
    name = values.text({**found, key: value} if key in found else found, "audio", keys)
    if not name or "\0" in name:
        raise DataError(f'"{key}" is not a path; give the path of an audio file')
    return recording(name, row.folder)


def _required(row: Mapping[str, Any], name: str, task: str) -> str:
    """Another field that the task requires, as text."""
    value = request_of(row).instruction if name == "prompt" else row.get(name)
    if name == "prompt" and not value:
        raise DataError(f'a row of task "{task}" needs a "prompt", the text to answer; add it as a string')
    if value is None:
        raise DataError(f'a row of task "{task}" needs "{name}"; add it')
    return values.encodable(f"{value}", name)


def _name_of(clip: Clip, folder: Path | str) -> str:
    """What a clip is called within its set: its path below `folder`, and its segment."""
    if not isinstance(clip, FileClip):
        return clip.name
    name = str(clip.path)
    if isinstance(clip.path, Path) and isinstance(folder, Path):
        name, below = os.path.normpath(name), _below(folder)
        name = name.removeprefix(below) if name.startswith(below) else os.path.relpath(name, folder)
    heard = f"\n{clip.channel}" if isinstance(clip.channel, int) else ""
    return f"{name}\n{clip.begin or 0.0}\n{clip.end}{heard}"


@lru_cache(maxsize=16)
def _below(folder: Path) -> str:
    """What the paths below a folder begin with."""
    return os.path.join(os.path.normpath(folder), "")  # noqa: PTH118


def _hash(own: str, name: str) -> str:
    return hashlib.sha256(f"{own}\n{name}".encode()).hexdigest()[:16]


def duplicate(has_id: bool, has_audio: bool, first: Line) -> str:
    """Why a row is bad whose id, its own or made of its clip or prompt, an earlier row has."""
    if has_id:
        return f"the same id as {place(first)}; ids must be unique"
    what = "clip and segment" if has_audio else "prompt"
    return f'the same {what} as {place(first)}, and no "id" to tell them apart; add one or remove the row'
