"""Lhotse's manifests: cuts, and recordings with supervisions, as JSONL, gzipped or not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from antiphon.data.rows import OWN_KEYS, BadRow, ReadOptions, Row
from antiphon.errors import AudioError, DataError, MissingExtraError
from antiphon.types import Hertz

BY_CONTENT = True
_CUTS = {"MonoCut", "MultiCut", "MixedCut", "PaddingCut", "Cut"}
_ENDINGS = (".jsonl", ".jsonl.gz")
_RECORDINGS, _SUPERVISIONS, _CUT_FILE = "recordings", "supervisions", "cuts"
_ROUNDING = 1e-3
"""Seconds by which a cut's end may miss that of its recording and still be it."""


def claims(spec: str) -> bool:
    return _kind(Path(spec)) is not None


def set_name(spec: str) -> str:
    return Path(spec).name.partition(".")[0]


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read cuts; or recordings and their supervisions, from a folder of both or from the file of the recordings.

    A cut with one supervision is a row with the cut's audio; one with several is a row for each of them, with the
    supervision's part of the audio, as `trim_to_supervisions` has it. A recording without a supervision is a row
    without text. Paths are looked for beside the manifest, and then, as Lhotse does, from the working directory.

    Raises `DataError` if a file cannot be read, or if a folder has several sets; `MissingExtraError` without `lhotse`.
    """
    path = Path(spec)
    file = _only_manifest(path) if path.is_dir() else path
    keys = OWN_KEYS | dict(options.columns)
    for row in _manifest(file):
        yield row if isinstance(row, BadRow) else replace(row, keys=keys)


def _manifest(file: Path) -> Iterator[Row | BadRow]:
    kind = _kind(file)
    if kind == _SUPERVISIONS:
        found = _beside(file, _SUPERVISIONS, _RECORDINGS)
        if found is None:
            raise DataError(f"{file}: there are no recordings beside it, of the same name; add them, or give cuts")
        file = found
    if kind == _CUT_FILE or kind is None:
        yield from _rows_of_cuts(file)
        return
    yield from _rows_of_recordings(file, _beside(file, _RECORDINGS, _SUPERVISIONS))


def _kind(path: Path) -> str | None:
    """What a manifest holds, by its first line; of a folder, by the names of its files."""
    if path.is_dir():
        return _RECORDINGS if any(_manifests(path, part) for part in (_CUT_FILE, _RECORDINGS)) else None
    if not path.name.endswith(_ENDINGS):
        return None
    try:
        first = next((json.loads(line) for _, line in _lines(path)), None)
    except (DataError, ValueError, RecursionError):
        return None
    if not isinstance(first, dict):
        return None
    if first.get("type") in _CUTS:
        return _CUT_FILE
    if {"sources", "sampling_rate"} <= first.keys():
        return _RECORDINGS
    return _SUPERVISIONS if {"recording_id", "start", "duration"} <= first.keys() else None


def _manifests(folder: Path, part: str) -> list[Path]:
    return sorted(one for one in folder.iterdir() if part in one.name and one.name.endswith(_ENDINGS))


def _only_manifest(folder: Path) -> Path:
    found = _manifests(folder, _CUT_FILE) or _manifests(folder, _RECORDINGS)
    if len(found) > 1:
        named = ", ".join(one.name for one in found)
        raise DataError(f"{folder} holds several sets: {named}; name one of the files")
    return found[0]


def _beside(file: Path, this: str, other: str) -> Path | None:
    """The file of the other kind that goes with this one: of the same name, compressed or not."""
    name = file.name.replace(this, other).partition(".jsonl")[0]
    for ending in _ENDINGS:
        if this in file.name and (found := file.with_name(name + ending)).is_file():
            return found
    return None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with (gzip.open if path.name.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, EOFError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({cause}); correct the path or write it again") from error


def _items(path: Path) -> Iterator[tuple[int, Any]]:
    """Each line's number and Lhotse's object, or the error that it is."""
    try:
        from lhotse.serialization import deserialize_item
    except ImportError as error:
        raise MissingExtraError(f"reading {path}", "lhotse", "lhotse") from error
    for number, line in _lines(path):
        try:
            yield number, deserialize_item(json.loads(line))
        except Exception as error:  # Each of Lhotse's classes fails in its own way at an object that it is not.
            yield number, error


def _rows_of_cuts(path: Path) -> Iterator[Row | BadRow]:
    for number, cut in _items(path):
        if isinstance(cut, Exception):
            yield _broken(number, cut)
            continue
        try:
            yield from _rows_of_cut(cut, number, path.parent)
        except DataError as error:
            yield BadRow(number, getattr(cut, "id", None), str(error))


def _rows_of_cut(cut: Any, line: int, folder: Path) -> Iterator[Row]:
    supervisions = getattr(cut, "supervisions", [])
    if len(supervisions) < 2:
        values = _described(supervisions[0]) if supervisions else {}
        yield Row(line, values | {"id": cut.id, **_custom(cut), **_audio(cut, folder)}, folder)
        return
    for number, (supervision, part) in enumerate(
        zip(supervisions, cut.trim_to_supervisions(keep_overlapping=False), strict=True)
    ):
        values = _described(supervision) | _custom(cut) | _audio(part, folder) | {"id": supervision.id}
        yield Row(f"line {line}, supervision {number}", values, folder)


def _rows_of_recordings(path: Path, supervisions: Path | None) -> Iterator[Row | BadRow]:
    said: dict[str, list[tuple[int, Any]]] = {}
    for number, one in _items(supervisions) if supervisions else ():
        if isinstance(one, Exception):
            yield _broken(f"{supervisions.name if supervisions else ''}, line {number}", one)
        else:
            said.setdefault(one.recording_id, []).append((number, one))
    for number, recording in _items(path):
        if isinstance(recording, Exception):
            yield _broken(f"{path.name}, line {number}", recording)
            continue
        try:
            yield from _rows_of_recording(recording, number, said.pop(recording.id, []), path, supervisions)
        except DataError as error:
            yield BadRow(f"{path.name}, line {number}", recording.id, str(error))
    for line, one in (pair for pairs in said.values() for pair in pairs):
        where = f"{supervisions.name if supervisions else ''}, line {line}"
        yield BadRow(where, one.id, f"there is no recording {one.recording_id!r}; add it to {path.name}")


def _rows_of_recording(
    recording: Any, line: int, said: list[tuple[int, Any]], path: Path, supervisions: Path | None
) -> Iterator[Row]:
    cut = recording.to_cut()
    if not said:
        yield Row(f"{path.name}, line {line}", {"id": recording.id, **_audio(cut, path.parent)}, path.parent)
    for number, one in said:
        part = cut.truncate(offset=one.start, duration=one.duration) if one.duration < cut.duration else cut
        values = _described(one) | {"id": one.id, **_audio(part, path.parent, one.channel)}
        yield Row(f"{supervisions.name if supervisions else path.name}, line {number}", values, path.parent)


def _described(supervision: Any) -> dict[str, Any]:
    fields = {name: getattr(supervision, name) for name in ("text", "language", "speaker", "gender")}
    return {name: value for name, value in fields.items() if value is not None} | _custom(supervision)


def _custom(item: Any) -> dict[str, Any]:
    """A user's own fields that are plain values; arrays are not read."""
    plain = (str, int, float, bool, list, dict, type(None))
    return {name: value for name, value in (item.custom or {}).items() if isinstance(value, plain)}


def _broken(line: int | str, error: Exception) -> BadRow:
    cause = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BadRow(line, None, f"not one of Lhotse's objects ({cause}); write the manifest again")


def _audio(cut: Any, folder: Path, channel: Any = None) -> dict[str, Any]:
    """The fields of a cut's audio: a part of a file, or what Lhotse makes of it. Raises `DataError`."""
    tracks = [track.cut for track in getattr(cut, "tracks", [])] or [cut]
    recordings: list[Any] = [getattr(one, "recording", None) for one in tracks if type(one).__name__ != "PaddingCut"]
    if not recordings or None in recordings:
        raise DataError("the cut has no recording, features alone; add its recording to the manifest")
    for source in (source for recording in recordings for source in recording.sources):
        if source.type != "file":
            raise DataError(
                f"its recording is a {source.type}, {str(source.source)[:80]!r}, which is not run or fetched; "
                "write it to a file: cut.save_audio(PATH)"
            )
    (recording, *further) = recordings
    part_of_a_file = len(tracks) == 1 and len(recording.sources) == 1 and not recording.transforms
    if further or not part_of_a_file or not hasattr(cut, "recording"):
        return {"audio": _Made(f"{folder / cut.id}", _placed(cut, folder))}
    audio = _path(recording.sources[0].source, folder)
    span = {"begin_time": round(cut.start, 6), "end_time": round(cut.end, 6)}
    whole = cut.start == 0 and abs(cut.end - recording.duration) < _ROUNDING
    return {"audio": audio} | ({} if whole else span) | _channel(recording, channel or getattr(cut, "channel", None))


def _channel(recording: Any, channel: Any) -> dict[str, Any]:
    """The one channel of several that a cut is of; none where it has all, which are mixed."""
    found = channel if isinstance(channel, list) else [0 if channel is None else channel]
    several = recording.num_channels > 1 and len(found) == 1
    return {"channel": recording.channel_ids.index(found[0])} if several else {}


def _path(name: str, folder: Path) -> Path:
    return Path(name).absolute() if not (folder / name).exists() and Path(name).exists() else Path(name)


def _placed(cut: Any, folder: Path) -> Any:
    """The cut with the paths of its recordings as seen from here."""
    tracks = [track.cut for track in getattr(cut, "tracks", [])] or [cut]
    sources = [source for one in tracks if getattr(one, "recording", None) for source in one.recording.sources]
    beside = all(one.type == "file" and (folder / one.source).exists() for one in sources)
    return cut.with_recording_path_prefix(folder) if beside else cut


@dataclass(frozen=True)
class _Made:
    """A cut that is no part of one file: mixed, of several files, or changed. Lhotse makes its audio. A `Clip`."""

    name: str
    cut: Any = field(compare=False, repr=False)

    def load(self, rate: Hertz) -> np.ndarray:
        """Mono float32 waveform [samples] at `rate`. Raises `AudioError`."""
        try:
            found = self.cut.resample(rate).load_audio() if self.cut.sampling_rate != rate else self.cut.load_audio()
        except Exception as error:  # Each of Lhotse's backends has errors of its own.
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise AudioError(f"{self.name}: Lhotse cannot load the cut ({cause}); correct its recordings") from error
        return np.asarray(found, dtype=np.float32).mean(axis=0)
