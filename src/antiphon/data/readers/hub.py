"""Hugging Face data sets, by id or as a folder with Parquet or audio files. We decode the recordings ourselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from antiphon.audio.embedded import Embedded
from antiphon.data import cells
from antiphon.data.fields import fields_inside, require_one
from antiphon.data.hubset import PREFIX, HubSet, Record, Table, is_folder, open_split
from antiphon.data.rows import ReadOptions, Row
from antiphon.errors import AudioError, DataError
from antiphon.tasks.load import find_task

__all__ = ["PREFIX", "HubSet", "claims", "read", "rows", "set_name"]
BY_CONTENT = True
NAMES = ("id", "language", "speaker")


def claims(spec: str) -> bool:
    return spec.startswith(PREFIX) or is_folder(spec)


def set_name(spec: str) -> str:
    return HubSet.parse(spec).name


def read(spec: str, options: ReadOptions) -> Iterator[Row]:
    """Read the rows of a set; recordings stay encoded until needed.

    A whole set is downloaded to the cache of `datasets`; with `options.limit`, the first rows are streamed.
    `options.columns` maps our fields to the set's columns; without it, they are found by their usual names. An id that
    an earlier row has is none.

    Raises `DataError` if the set cannot be loaded or has no text, `MissingExtraError` without `datasets`.
    """
    return rows(HubSet.parse(spec), options)


def rows(source: HubSet, options: ReadOptions) -> Iterator[Row]:
    """Like `read`, for a parsed spec."""
    table = open_split(source, options.columns.get("audio"), options.limit)
    keys = _keys(source, table, options)
    seen: set[str] = set()
    for number, raw in enumerate(table.rows):
        record = {key: cells.plain(value) for key, value in _in_words(raw, table.features).items()}
        require_one(record, keys, options.columns, f"{source}, row {number}")
        ours: dict[str, Any] = {keys[field]: _name(record.get(keys[field])) for field in NAMES if field in keys}
        if (id := ours.get(keys.get("id", ""))) in seen:
            ours[keys["id"]] = None
        elif id:
            seen.add(id)
        if (said := record.get(keys["text"])) is not None:
            ours[keys["text"]] = str(said)
        if table.audio:
            ours[table.audio] = _recording(source, table, number)
        yield Row(f"row {number}", record | ours, _folder(source), keys, name=f"row {number}")


def _keys(source: HubSet, table: Table, options: ReadOptions) -> dict[str, str]:
    """Which columns serve our fields."""
    names = list(table.features)
    found = fields_inside(names, options.columns, table.audio)
    listed = ", ".join(names)
    if absent := [name for name in options.columns.values() if name not in names]:
        raise DataError(f"{source} has no column {absent[0]!r}; its columns are {listed}")
    talks = {"messages", "conversations", "prompt", "reward_model"} & {*names}
    if "text" not in found and options.text_required and not talks:
        raise DataError(f"{source} has no text (--columns text=COLUMN); its columns are {listed}")
    if "audio" not in found and "audio" in find_task(options.task).fields and not talks:
        raise DataError(f"{source} has no audio column; its columns are {listed} (--columns audio=COLUMN)")
    return {"text": "text", **found}


def _recording(source: HubSet, table: Table, number: int) -> Path | Embedded:
    if table.paths and (path := table.paths[number]) and Path(path).is_absolute():
        return Path(path)
    name = f"{source}#{number}"
    return Embedded(name, partial(_content, table, number, name, source.repo))


def _folder(source: HubSet) -> Path:
    return Path(source.repo) if Path(source.repo).is_dir() else Path()


def _in_words(row: Record, features: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the numbers of class labels in a row by their names."""
    return {
        name: features[name].int2str(value) if hasattr(features[name], "int2str") and value is not None else value
        for name, value in row.items()
    }


def _name(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _content(table: Table, number: int, name: str, repo: str) -> bytes:
    """A recording's bytes, from the table, a local file or the hub. Raises `AudioError`."""
    import fsspec

    cell: Any = table.recordings[number][table.audio or "audio"]
    path = cell.get("path") if isinstance(cell, Mapping) and cell.get("bytes") is None else cell
    if not isinstance(path, str) or not path or (isinstance(cell, Mapping) and cell.get("array") is not None):
        rate = next((table.recordings[number][key] for key in cells.RATES if key in table.features), None)
        return cells.encoded(cell, rate, name, Path(repo))
    if (Path(repo) / path).is_file():
        path = str(Path(repo) / path)
    try:
        with fsspec.open(path, "rb") as file:
            return file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: {path} cannot be read ({error}); check the copy or the connection") from error
