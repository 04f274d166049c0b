"""Parquet files, one, several or a folder of them: recordings as bytes, structs of `datasets`, samples or paths."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cachetools import LRUCache
from pyarrow import types

from antiphon.audio.embedded import Embedded
from antiphon.data import cells
from antiphon.data.content import require
from antiphon.data.readers.jsonl import Folder
from antiphon.data.rows import ReadOptions, Row
from antiphon.data.shards import inside, matching, name_of, require_one_split
from antiphon.errors import AudioError, DataError

ENDING = ".parquet"
_ROWS = 1024
"""Rows without recordings that are read at a time."""
_RECORDINGS = 16
"""Recordings that are read at a time."""
_KEPT_BYTES = 64 << 20
"""Memory for recordings that were read with others."""


def claims(spec: str) -> bool:
    return bool(_files(spec))


def set_name(spec: str) -> str:
    return name_of(spec, _files(spec))


def read(spec: str, options: ReadOptions) -> Iterator[Row]:
    """Read the rows of a file, of a folder's files, or of those that a pattern such as `data/train-*.parquet` matches.

    Row groups are read one after the other, without their recordings, which stay encoded in the file until they are
    needed. Raises `DataError` if a file cannot be read, or if a folder holds several splits.
    """
    require(spec, "parquet")
    files = _files(spec) or [Path(spec)]
    require_one_split(spec, files)
    for file in files:
        place = "row {}" if len(files) == 1 else f"{file.name}, row {{}}"
        folder = Folder(str(file), options)
        for number, values in enumerate(_rows(file, options)):
            yield inside(values, options, place.format(number), folder.of(values), spec)


def _files(spec: str) -> list[Path]:
    return matching(spec, lambda path: path.suffix == ENDING)


@dataclass(frozen=True)
class _Columns:
    """The columns of a file by what they hold."""

    read: Sequence[str]
    """Columns and parts of columns that are read with the rows."""
    recordings: Mapping[str, cells.Kind]
    """Columns of recordings that stay in the file."""
    paths: Sequence[str]
    """Structs of recordings that have a path alone."""
    labels: Mapping[str, Sequence[str]]
    """Names of class labels, by column."""
    odd: Sequence[str]
    """Columns whose cells are no values of JSON, or may hold some that are none."""


def _rows(path: Path, options: ReadOptions) -> Iterator[dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
        columns = _columns(file, options.columns.get("audio"))
        number = 0
        for batch in file.iter_batches(_ROWS, columns=list(columns.read)):
            for row in batch.to_pylist():
                values = dict(row)
                for key in columns.odd:
                    values[key] = cells.plain(row[key])
                for key, names in columns.labels.items():
                    values[key] = None if row[key] is None else names[row[key]]
                for key in columns.paths:
                    values[key] = (row[key] or {}).get("path")
                for key, kind in columns.recordings.items():
                    values[key] = _recording(path, key, kind, number, row)
                yield values
                number += 1
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as Parquet ({cause}); correct the path or write it again") from error


def _columns(file: pq.ParquetFile, audio: str | None) -> _Columns:
    schema = file.schema_arrow
    features = _features(schema)
    recordings: dict[str, cells.Kind] = {}
    read: list[str] = []
    paths: list[str] = []
    for field in schema:
        kind = cells.kind_of(field.type, schema.names, field.name == audio)
        if kind is None:
            read.append(field.name)
        elif kind.has_path and _all_null(file.metadata, f"{field.name}.bytes"):
            paths.append(field.name)
            read.append(f"{field.name}.path")
        else:
            recordings[field.name] = kind
    labels = {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    odd = [name for name in read if name in schema.names and not _is_plain(schema.field(name).type)]
    return _Columns(read, recordings, paths, {name: names for name, names in labels.items() if name in read}, odd)


def _is_plain(type: pa.DataType) -> bool:
    return any(test(type) for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_string))


def _all_null(metadata: pq.FileMetaData, column: str) -> bool:
    """Whether a column holds nothing, by the statistics of every row group."""
    for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
        chunks = (group.column(number) for number in range(group.num_columns))
        found = [chunk.statistics for chunk in chunks if chunk.path_in_schema == column]
        if not found or found[0] is None or found[0].null_count != group.num_rows:
            return False
    return True


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The types that `datasets` keeps beside the schema, by column."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: one for name, one in features.items() if isinstance(one, dict)}


def _recording(path: Path, key: str, kind: cells.Kind, number: int, row: Mapping[str, Any]) -> Embedded:
    rate = row.get(kind.rate) if kind.rate else None
    return Embedded(f"{path}#{number}", partial(_content, str(path), key, number, rate))


def _content(path: str, column: str, number: int, rate: float | None) -> bytes:
    """The encoded recording in a cell. Raises `AudioError`."""
    try:
        stat = Path(path).stat()
        cell = _opened(path, column, (stat.st_size, stat.st_mtime_ns)).cell(number)
    except (pa.ArrowException, OSError) as error:
        raise AudioError(f"{path}#{number}: cannot be read ({error}); write the file again") from error
    return cells.encoded(cell, rate, f"{path}#{number}", Path(path).parent)


@lru_cache(maxsize=64)
def _opened(path: str, column: str, stamp: tuple[int, int]) -> _Cells:
    """The cells of a column; `stamp` tells a file from one that took its place."""
    return _Cells(path, column, stamp)


_kept: LRUCache[tuple[Any, ...], Any] = LRUCache(_KEPT_BYTES, getsizeof=lambda array: array.nbytes)
_reading = Lock()


class _Cells:
    """The cells of a column by row number; those of a row group are read in small batches, from its start."""

    def __init__(self, path: str, column: str, stamp: tuple[int, int]) -> None:
        self._key = (path, column, stamp)
        self._file = pq.ParquetFile(path, memory_map=True)
        counts = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = [sum(counts[:group]) for group in range(len(counts))]
        self._at: tuple[int, int] = (-1, 0)
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def cell(self, number: int) -> Any:
        group = max(index for index, start in enumerate(self._starts) if start <= number)
        batch, place = divmod(number - self._starts[group], _RECORDINGS)
        with _reading:
            found = _kept.get((*self._key, group, batch))
            if found is None:
                found = self._read(group, batch)
        return found[place].as_py()

    def _read(self, group: int, batch: int) -> Any:
        """Read on to a batch; what was passed on the way is kept while there is room."""
        if self._at[0] != group or self._at[1] > batch:
            self._batches = self._file.iter_batches(_RECORDINGS, row_groups=[group], columns=[self._key[1]])
            self._at = (group, 0)
        while True:
            array = next(self._batches).column(0)
            at = self._at[1]
            self._at = (group, at + 1)
            if array.nbytes <= _KEPT_BYTES:
                _kept[(*self._key, group, at)] = array
            if at == batch:
                return array
