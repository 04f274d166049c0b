"""ArrayRecord files of tf.Example messages, one, several or a folder of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from antiphon.audio.embedded import Embedded
from antiphon.data import example_proto
from antiphon.data.cells import RATES, samples
from antiphon.data.content import require
from antiphon.data.rows import BadRow, ReadOptions, Row
from antiphon.data.shards import inside, matching, name_of, require_one_split
from antiphon.errors import AudioError, DataError, MissingExtraError

_NAME = re.compile(r".*\.array_?records?(-\d+-of-\d+)?$")
AUDIO = "audio"
LENGTH = "audio_len"
"""The feature with the number of samples of raw audio."""
_TYPES = {2: np.dtype("<i2"), 4: np.dtype("<f4"), 8: np.dtype("<f8")}
"""Types of raw samples in bytes, by their size."""
_MAGIC = re.compile(rb"RIFF|RF64|fLaC|OggS|ID3|\xff[\xe0-\xff]|\x1aE\xdf\xa3|FORM|\.snd|....ftyp", re.DOTALL)
"""First bytes of recordings that are encoded."""


def claims(spec: str) -> bool:
    return bool(_files(spec))


def set_name(spec: str) -> str:
    return name_of(spec, _files(spec))


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read the records of a file, of a folder's files, or of those that a pattern matches.

    The feature `audio` is an encoded recording, or samples at `sample_rate`: floats in -1..1, 16-bit integers, or the
    bytes of either, of which `audio_len` says how many there are. `data.columns` renames it. Each other feature is a
    value of the row; text is UTF-8.

    Raises `DataError` if a file cannot be read or a folder holds several splits, `MissingExtraError` without
    `array_record`.
    """
    require(spec, "arrayrecord")
    files = _files(spec) or [Path(spec)]
    require_one_split(spec, files)
    audio = options.columns.get(AUDIO, AUDIO)
    for file in files:
        source = _source(str(file))
        for number in range(len(source)):
            place = f"record {number}" if len(files) == 1 else f"{file.name}, record {number}"
            try:
                features = example_proto.parse(_record(str(file), number))
            except (ValueError, RuntimeError) as error:
                yield BadRow(place, None, f"not a tf.Example ({_first_line(error)}); write the file again")
                continue
            yield inside(_values(features, file, number, audio), options, place, file.parent, spec)


def _values(features: dict[str, example_proto.Feature], file: Path, number: int, audio: str) -> dict[str, Any]:
    values = {name: _plain(feature) for name, feature in features.items() if name != audio}
    if features.get(audio):
        values[audio] = Embedded(f"{file}#{number}", partial(_content, str(file), number, audio))
    return values


def _plain(feature: example_proto.Feature) -> Any:
    found = [_text(value) if isinstance(value, bytes) else value for value in feature]
    return found[0] if len(found) == 1 else found or None


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _files(spec: str) -> list[Path]:
    return matching(spec, lambda path: _NAME.match(path.name) is not None)


@lru_cache(maxsize=64)
def _opened(path: str, stamp: tuple[int, int]) -> Any:
    """A file's records, by number; `stamp` tells a file from one that took its place."""
    try:
        logging.getLogger("absl").setLevel(logging.ERROR)  # It notes on import that there is no JAX to profile.
        from grain.sources import ArrayRecordDataSource
    except ImportError as error:
        raise MissingExtraError(f"reading {path}", "array_record", "arrayrecord") from error
    try:
        return ArrayRecordDataSource(path)
    except (RuntimeError, ValueError, OSError) as error:
        cause = _first_line(error)
        raise DataError(f"{path}: cannot be read as ArrayRecord ({cause}); copy or write it again") from error


def _source(path: str) -> Any:
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct the path") from error
    return _opened(path, (stat.st_size, stat.st_mtime_ns))


def _record(path: str, number: int) -> bytes:
    return _source(path)[number]


def _content(path: str, number: int, audio: str) -> bytes:
    """The encoded recording of a record. Raises `AudioError`."""
    name = f"{path}#{number}"
    try:
        features = example_proto.parse(_record(path, number))
    except (ValueError, RuntimeError, DataError) as error:
        raise AudioError(f"{name}: the record cannot be read ({_first_line(error)}); write the file again") from error
    return _encoded(features[audio], features, name)


def _encoded(audio: example_proto.Feature, features: dict[str, example_proto.Feature], name: str) -> bytes:
    rate = next((int(features[key][0]) for key in RATES if features.get(key)), None)
    length = int(features[LENGTH][0]) if features.get(LENGTH) else None
    if isinstance(audio[0], bytes):
        if len(audio) > 1:
            raise AudioError(f"{name}: the record has {len(audio)} recordings; a row has one")
        if _MAGIC.match(audio[0]):
            return audio[0]
        array = _raw(audio[0], length, name)
    else:
        array = np.asarray(audio, dtype=np.float32 if isinstance(audio[0], float) else np.int64)
    if length is not None and length != len(array):
        if not 0 < length < len(array) or np.any(array[length:]):
            raise AudioError(f"{name}: {LENGTH} is {length}, but there are {len(array)} samples; correct one of them")
        array = array[:length]
    return samples(array, rate, name)


def _raw(content: bytes, length: int | None, name: str) -> np.ndarray:
    """Samples in bytes, whose type follows from their number."""
    if not length or len(content) % length or len(content) // length not in _TYPES:
        raise AudioError(
            f"{name}: its {len(content)} bytes are no audio file, and {LENGTH}={length} does not say which samples; "
            f"store an encoded file, or samples of 16-bit integers or floats with their number in {LENGTH!r}"
        )
    return np.frombuffer(content, _TYPES[len(content) // length])


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
