"""JSONL datasets: one JSON object per line, each an `Example`; every bad row is named with its line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antiphon.audio.decode import FileClip
from antiphon.audio.embedded import SCHEME, Embedded, from_uri
from antiphon.errors import ConfigError, DataError, did_you_mean
from antiphon.types import Example, Seconds

FIELDS = ("audio", "text", "id", "task", "begin_time", "end_time", "language", "speaker")
"""The keys that a row may have for us; all others are kept in `Example.columns`."""
KNOWN_TASKS = ("asr", "classify", "text")
WRITTEN_TASKS = ("text",)
"""Tasks that are asked in the row's `prompt`; their rows need no `audio`."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    line: int | None
    """Line in the file, from 1; None when the example did not come from a file."""
    id: str | None
    reason: str

    def __str__(self) -> str:
        name = "" if self.id is None else f"example {self.id}"
        if self.line is not None:
            name = f"line {self.line}" + (f" ({name})" if name else "")
        return f"{name}: {self.reason}"


@dataclass
class JsonlRows:
    """What a JSONL file holds: the rows that can be used, and those that cannot."""

    path: Path
    examples: list[Example] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    """The line, from 1, of each example by its id."""
    bad: list[BadRow] = field(default_factory=list)


def load_jsonl(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    default_task: str = "asr",
    known_tasks: Collection[str] = KNOWN_TASKS,
) -> list[Example]:
    """The examples of a JSONL file, all of them good; arguments as for `read_jsonl`.

    Raises `DataError` that lists the first bad rows, or says that there are no rows at all.
    """
    return require_good(read_jsonl(path, columns, default_task, known_tasks)).examples


def require_good(rows: JsonlRows) -> JsonlRows:
    """`rows`, unless a row is bad or there are none: then `DataError`, which lists the first bad rows."""
    if rows.bad:
        raise DataError(
            describe_bad(rows.bad, str(rows.path), len(rows.bad) + len(rows.examples))
            + f"\nCorrect or remove them; `antiphon data check {rows.path}` lists them all."
        )
    if not rows.examples:
        raise DataError(f"{rows.path}: the file has no rows; write one JSON object per line")
    return rows


def describe_bad(bad: Sequence[BadRow], source: str, total: int, shown: int = 5) -> str:
    """One sentence and the first `shown` bad rows, a line each."""
    lines = [f"{source}: {len(bad)} of {total} row(s) cannot be used:", *(f"  {row}" for row in bad[:shown])]
    if len(bad) > shown:
        lines.append(f"  ... and {len(bad) - shown} more")
    return "\n".join(lines)


def read_jsonl(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    default_task: str = "asr",
    known_tasks: Collection[str] = KNOWN_TASKS,
    text_required: bool = True,
) -> JsonlRows:
    """Read a JSONL file, keeping bad rows aside with their line and reason. Audio is not opened.

    A row has `audio` (a path, relative to the file's folder, or a data URI, or a list of one of these) and `text` (may
    be empty), and may have `id`, `task`, `begin_time` and `end_time` (seconds; -1 for the whole file), `language` and
    `speaker`. `columns` maps any of these to the key that holds it in this file, e.g. {"audio": "wav"}. Rows of
    `WRITTEN_TASKS` have a `prompt`, which stays among the example's columns, and may leave the audio out. An example
    without an `id` is called after its recording and segment, or its prompt: 16 hexadecimal digits of their SHA-256.
    Blank lines are skipped. Without `text_required`, a row may leave its text out or null, as audio that is yet to be
    transcribed does.

    Raises `DataError` when the file itself cannot be read, `ConfigError` when `columns` names an unknown
    field or `default_task` is not among `known_tasks`.
    """
    keys = _field_keys(columns or {})
    if default_task not in known_tasks:
        raise ConfigError(_unknown("task", default_task, known_tasks))
    rows = JsonlRows(Path(path))
    for line, raw in _lines(rows.path):
        row_id = None
        try:
            row = _parse(raw)
            row_id = _name(row, "id", keys)
            if not text_required and row.get(keys["text"]) is None:
                row[keys["text"]] = ""
            example = _example(row, keys, rows.path.parent, default_task, known_tasks)
            row_id = example.id
            if row_id in rows.lines:
                has_id, has_audio = row.get(keys["id"]) is not None, example.clip is not None
                raise DataError(_duplicate(has_id, has_audio, rows.lines[row_id]))
        except DataError as error:
            rows.bad.append(BadRow(line, row_id, str(error)))
        else:
            rows.examples.append(example)
            rows.lines[example.id] = line
    return rows


def _field_keys(columns: Mapping[str, str]) -> dict[str, str]:
    for name in columns:
        if name not in FIELDS:
            raise ConfigError(_unknown("field in data.columns", name, FIELDS))
    return {name: columns.get(name, name) for name in FIELDS}


def _unknown(what: str, value: object, known: Collection[str]) -> str:
    shown = str(value).encode("utf-8", "backslashreplace").decode()
    hint = did_you_mean(shown, known, "", show='"{}"'.format)
    return " ".join(filter(None, (f'unknown {what} "{shown}";', hint, f"(known: {', '.join(sorted(known))})")))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number from 1 and bytes of each line that is not blank; a UTF-8 byte order mark is dropped."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise DataError(f"{path}: the file is UTF-16; save it as UTF-8")
                content = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
                if content:
                    yield number, content
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct the path of the dataset") from error


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 at byte {error.start + 1} of the line; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"not valid JSON at column {error.colno} ({error.msg}); each line must be one whole JSON object"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"JSON that cannot be read ({error}); simplify the row") from error
    if not isinstance(row, dict):
        raise DataError(f'the line holds {_kind(row)}, not a JSON object; write {{"audio": "a.wav", "text": "..."}}')
    return row


def _example(
    row: Mapping[str, Any], keys: Mapping[str, str], folder: Path, default_task: str, tasks: Collection[str]
) -> Example:
    task = row.get(keys["task"])
    if task is not None and not (isinstance(task, str) and task in tasks):
        raise DataError(_unknown("task", task, tasks))
    task = task or default_task
    begin, end = _time(row, "begin_time", keys), _time(row, "end_time", keys)
    audio = None if task in WRITTEN_TASKS and row.get(keys["audio"]) is None else _recording(row, keys, folder)
    prompt = _prompt(row) if task in WRITTEN_TASKS else None
    used = set(keys.values())
    return Example(
        id=_name(row, "id", keys) or (_hashed_id(folder, audio, begin, end) if audio else _hash(f"{prompt}")),
        task=task,
        clip=FileClip(audio, begin, end) if audio else None,
        text=_text(row, "text", keys),
        language=_name(row, "language", keys),
        speaker=_name(row, "speaker", keys),
        columns={key: value for key, value in row.items() if key not in used},
    )


def _recording(row: Mapping[str, Any], keys: Mapping[str, str], folder: Path) -> Path | Embedded:
    """From a path or a data URI, alone or as the one element of a list."""
    key = keys["audio"]
    value = row.get(key)
    if isinstance(value, list):
        if len(value) != 1:
            raise DataError(f'"{key}" lists {len(value)} recordings; a row has one')
        value = value[0]
    audio = _text({**row, key: value} if key in row else row, "audio", keys)
    if audio.startswith(SCHEME):
        return from_uri(audio)
    if not audio or "\0" in audio:
        raise DataError(f'"{key}" is not a path; give the path of an audio file')
    return folder / audio


def _prompt(row: Mapping[str, Any]) -> str:
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError('a row of task "text" needs a "prompt", the text to answer; add it as a string')
    return _encodable(prompt, "prompt")


def _text(row: Mapping[str, Any], name: str, keys: Mapping[str, str]) -> str:
    key = keys[name]
    if key not in row:
        raise DataError(
            f'the row has no "{key}", only {", ".join(json.dumps(k) for k in row) or "an empty object"}; '
            f"add it, or say which key holds it: data.columns={{{name}: KEY}}"
        )
    value = row[key]
    if not isinstance(value, str):
        hint = ' ("" for a clip without speech)' if name == "text" else ""
        raise DataError(f'"{key}" is {_kind(value)}; it must be a string{hint}')
    return _encodable(value, key)


def _name(row: Mapping[str, Any], name: str, keys: Mapping[str, str]) -> str | None:
    """A string or a whole number, as a string; None where the row has none."""
    value = row.get(keys[name])
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f'"{keys[name]}" is {_kind(value)}; it must be a non-empty string or a whole number')
    return _encodable(str(value), keys[name])


def _time(row: Mapping[str, Any], name: str, keys: Mapping[str, str]) -> Seconds | None:
    value = row.get(keys[name])
    if value is None or (value == -1 and not isinstance(value, bool)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        shown = f"{value}" if isinstance(value, int | float) else _kind(value)
        raise DataError(f'"{keys[name]}" is {shown}; give seconds from 0 up, or -1 for the whole file')
    return float(value)


def _encodable(value: str, key: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f'"{key}" has half a surrogate pair at character {error.start + 1}; correct it') from error
    return value


def _hashed_id(folder: Path, audio: Path | Embedded, begin: Seconds | None, end: Seconds | None) -> str:
    name = audio.name if isinstance(audio, Embedded) else Path(os.path.relpath(audio, folder)).as_posix()
    return _hash(f"{name}\n{begin or 0.0}\n{end}")


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _duplicate(has_id: bool, has_audio: bool, first: int) -> str:
    if has_id:
        return f"the same id as line {first}; ids must be unique"
    what = "clip and segment" if has_audio else "prompt"
    return f'the same {what} as line {first}, and no "id" to tell them apart; add one or remove the row'


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if value == "":
        return "an empty string"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names[type(value)]
