"""Cells of tables: which hold recordings, and what else a row may hold."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types

from antiphon.audio.encode import wav
from antiphon.data.files import root_of
from antiphon.errors import AudioError

RATES = ("sampling_rate", "sample_rate", "sr")
"""Usual names of the column with the rate of samples."""


@dataclass(frozen=True)
class Kind:
    """What the cells of a column of recordings are."""

    has_path: bool = False
    """A struct with a path, beside or instead of the bytes."""
    rate: str | None = None
    """The column with the rate, of cells that are samples alone."""


def kind_of(type: pa.DataType, names: Sequence[str], chosen: bool) -> Kind | None:
    """The kind of a column of recordings by its type; None for any other column.

    `names` are the table's columns; a list of numbers is a recording if one of them is a rate. `chosen` says that the
    user names this column as the audio.
    """
    if types.is_struct(type):
        parts = {type.field(index).name for index in range(type.num_fields)}
        if "bytes" in parts or {"array", "sampling_rate"} <= parts:
            return Kind(has_path="path" in parts)
        return None
    if types.is_binary(type) or types.is_large_binary(type) or types.is_binary_view(type):
        return Kind(rate=_rate_column(names))
    rate = _rate_column(names)
    if _is_list(type) and rate and (types.is_floating(type.value_type) or types.is_integer(type.value_type)):
        return Kind(rate=rate)
    return Kind(rate=rate) if chosen and _is_list(type) else None


def _is_list(type: pa.DataType) -> bool:
    return types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type)


def _rate_column(names: Sequence[str]) -> str | None:
    return next((name for name in RATES if name in names), None)


def encoded(cell: Any, rate: float | None, name: str, folder: Path) -> bytes:
    """The encoded recording in a cell: bytes, {"bytes", "path"}, {"array", "sampling_rate"}, or samples at `rate`.

    Paths are relative to `folder`, or else to the working folder. Raises `AudioError` with the recording's `name` for a
    cell without one.
    """
    if isinstance(cell, dict):
        if cell.get("bytes") is not None:
            return bytes(cell["bytes"])
        if cell.get("array") is not None:
            return samples(cell["array"], cell.get("sampling_rate"), name)
        cell = cell.get("path")
    if cell is None or len(cell) == 0:
        raise AudioError(f"{name}: the row has no recording; remove it, or leave it out with data.on_bad_audio: skip")
    if isinstance(cell, str):
        return _file(Path(root_of(cell, folder, Path())) / cell, name)
    return cell if isinstance(cell, bytes) else samples(cell, rate, name)


def samples(values: Any, rate: float | None, name: str) -> bytes:
    """Samples as a WAV file. Integers are 16-bit ones. Raises `AudioError` without a rate."""
    if not rate:
        raise AudioError(f"{name}: samples need their rate; add {' or '.join(RATES[:2])}")
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise AudioError(f"{name}: the samples are no numbers; store floats in -1..1 or 16-bit integers")
    if array.dtype.kind in "iu":
        if len(array) and not -32768 <= array.min() <= array.max() <= 32767:
            raise AudioError(f"{name}: integer samples are beyond 16 bits; store them as floats in -1..1")
        array = array / 32768
    return wav(array, int(rate))


def plain(value: Any) -> Any:
    """A cell as a value of JSON: times become text, decimals numbers, bytes are left out."""
    if isinstance(value, dict):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(below) for below in value]
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    return None if isinstance(value, bytes) else value


def _file(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        cause = error.strerror or str(error)
        raise AudioError(f"{name}: {path} cannot be read ({cause}); correct the path in the row") from error
