"""Writes a set in another format: what writers are given, and the folder that they fill."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from antiphon.audio.decode import FileClip, probe
from antiphon.audio.embedded import Embedded
from antiphon.audio.encode import flac, wav
from antiphon.config.plugins import Kind
from antiphon.errors import AudioError, ConfigError, DataError
from antiphon.runs import atomic
from antiphon.types import Clip, Example, Hertz, Seconds

WRITER = Kind("writer", "antiphon.data.writers", offers=("write",))
STAMP = "antiphon-data.json"
"""The file that says where a written set comes from; a folder without it is never replaced."""
RATE: Hertz = 16000
"""The rate at which clips without a recording are written."""
AUDIO = "audio"
"""Subfolder of recordings that were no files."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_MAGIC = ((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff\xfb", ".mp3"))
OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class Recording:
    """Where an example's audio is, for formats that refer to files."""

    path: str
    """Relative to the folder of the list if it lies there, else absolute."""
    begin: Seconds | None = None
    end: Seconds | None = None
    channel: int | None = None


@dataclass
class Out:
    """The folder that a writer fills."""

    folder: Path
    """Where to write; it becomes `final` when everything is there."""
    final: Path
    name: str
    """The name of the set, for its files."""
    parts: bool = False
    """Whether further sets are written to the same folder."""
    notes: list[str] = field(default_factory=list)
    """What the format has no place for, for the user."""
    _names: dict[str, str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def recording(self, example: Example) -> Recording:
        """The example's audio as a file: its own, or a new one in `audio/`. Raises `AudioError`."""
        clip = clip_of(example)
        if isinstance(clip, FileClip) and isinstance(clip.path, str | Path):
            path = Path(clip.path).absolute()
            channel = clip.channel if isinstance(clip.channel, int) else None
            return Recording(str(path), clip.begin, clip.end, channel)
        content, ending = encoded(clip)
        (self.folder / AUDIO).mkdir(exist_ok=True)
        name = f"{AUDIO}/{self.safe(example.id)}{ending}"
        (self.folder / name).write_bytes(content)
        return Recording(name)

    def safe(self, id: str, dots: bool = True) -> str:
        """`id` as a name for files and keys, another for each: letters, digits, `_`, `-` and, if wanted, `.`."""
        if id not in self._names:
            name = id
            if not _PLAIN.fullmatch(id) or ("." in id and not dots) or id.casefold() in self._used:
                digest = hashlib.sha256(id.encode()).hexdigest()[:8]
                name = f"{re.sub(r'[^A-Za-z0-9_-]+', '_', id)[:80]}-{digest}"
            self._names[id] = name
            self._used.add(name.casefold())
        return self._names[id]

    def absolute(self, path: str) -> str:
        """A recording's path that holds from everywhere."""
        return path if os.path.isabs(path) else str(self.final.absolute() / path)  # noqa: PTH117


def clip_of(example: Example) -> Clip:
    if example.clip is None:
        raise DataError(f"example {example.id} has no recording, which this format needs; write jsonl, csv or parquet")
    return example.clip


def encoded(clip: Clip) -> tuple[bytes, str]:
    """An example's audio as an encoded file, and the ending of its name. Raises `AudioError`.

    A whole recording of a usual form is kept as it is. What is made, a part of a recording, and one of another form
    become a FLAC file: of 16 bits where they hold every sample exactly, else of 24; louder audio than full scale a WAV
    file of floats.
    """
    if not isinstance(clip, FileClip):
        return _compressed(clip.load(RATE), RATE)
    if clip.name == str(clip.path):
        content = _content(clip.path)
        ending = next((ending for magic, ending in _MAGIC if content.startswith(magic)), None)
        if ending:
            return content, ending
    rate = probe(clip.path).rate
    return _compressed(clip.load(rate), rate)


def _content(path: Any) -> bytes:
    if isinstance(path, Embedded):
        return path.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error}); correct the path") from error


def _compressed(waveform: np.ndarray, rate: Hertz) -> tuple[bytes, str]:
    if np.abs(waveform).max(initial=0.0) > 1.0:
        return wav(waveform, rate), ".wav"
    return flac(waveform, rate), ".flac"


@dataclass
class Written:
    """What came of writing."""

    places: dict[str, Path] = field(default_factory=dict)
    """What to give as SET, by the set's name."""
    rows: dict[str, int] = field(default_factory=dict)
    """Examples written, by the set's name."""
    skipped: list[str] = field(default_factory=list)
    """Why examples were left out."""
    notes: list[str] = field(default_factory=list)
    """What the format had no place for."""


def fields(example: Example) -> dict[str, Any]:
    """An example's fields and columns but for its audio, those that it has."""
    own = {"id": example.id, "task": example.task, "text": example.text}
    own |= {"language": example.language, "speaker": example.speaker}
    return {name: value for name, value in {**own, **example.columns}.items() if value is not None}


def write(
    sets: Sequence[tuple[str, Sequence[Example]]],
    folder: Path,
    format: str,
    *,
    source: str,
    force: bool = False,
    on_bad_audio: Literal["error", "skip"] = "error",
    on_progress: OnProgress | None = None,
) -> Written:
    """Write named sets to a new `folder` in `format`.

    The folder is complete or absent. One that is not empty is replaced only with `force`, and only if it was written
    by this function. Raises `ConfigError` for an unknown format and a folder in the way, `AudioError` or `DataError`
    for an example that cannot be written, unless its audio is bad and that is to be skipped.
    """
    writer = WRITER.load(format, "--format")
    _require_free(folder, force, (example for _, examples in sets for example in examples))
    found = Written()
    with _filled(folder) as aside:
        for name, examples in sets:
            chosen = examples if on_bad_audio == "error" else _readable(examples, found.skipped)
            found.rows[name] = 0
            out = Out(aside, folder, name, len(sets) > 1, found.notes)
            found.places[name] = folder / writer.write(_counted(chosen, name, found, on_progress), out)
        stamp = {"source": source, "format": format, "rows": found.rows}
        atomic.write_json(aside / STAMP, stamp)
    return found


def _counted(
    examples: Iterable[Example], name: str, found: Written, on_progress: OnProgress | None
) -> Iterator[Example]:
    for example in examples:
        yield example
        found.rows[name] += 1
        if on_progress:
            on_progress(sum(found.rows.values()))


def _readable(examples: Iterable[Example], skipped: list[str]) -> Iterator[Example]:
    """The examples whose audio can be read; the others' faults go to `skipped`."""
    for example in examples:
        try:
            if isinstance(example.clip, FileClip):
                example.clip.scan()
        except AudioError as error:
            skipped.append(str(error))
        else:
            yield example


def _require_free(folder: Path, force: bool, examples: Iterable[Example]) -> None:
    """Raise `ConfigError` if `folder` holds something that must not be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; name a folder for the data set")
    if not (folder / STAMP).is_file():
        raise ConfigError(f"{folder} is in use and was not written by antiphon data; name another folder")
    if not force:
        raise ConfigError(f"{folder} has a data set already; name another folder, or replace it with --force")
    inside = folder.resolve()
    for example in examples:
        clip = example.clip
        path = clip.path if isinstance(clip, FileClip) and not isinstance(clip.path, Embedded) else None
        if path and Path(path).resolve().is_relative_to(inside):
            raise ConfigError(f"{folder} holds recordings of the set that is to be written; name another folder")


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when it is complete."""
    with atomic.naming(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            shutil.rmtree(folder)
    with atomic.atomic_dir(folder) as aside:
        yield aside
