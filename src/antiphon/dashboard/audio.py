"""Clips named in a run's files: finds them, converts them for browsers, and computes waveform peaks."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from cachetools import LRUCache

from antiphon.audio.decode import Channel, probe, read_audio
from antiphon.audio.encode import wav
from antiphon.dashboard.read.cache import Cached, stamp
from antiphon.errors import AudioError
from antiphon.types import Seconds

PEAKS = 400
"""Values of a waveform, more than a screen can show."""
LONGEST: Seconds = 1200
"""Longer clips have no waveform, as that needs full decoding."""
_PLAYED = {"WAV", "WAVEX", "FLAC", "OGG", "MP3"}
"""Containers that every browser plays, by libsndfile's names."""
_COPIES = 64


@dataclass(frozen=True)
class Named:
    """A file, or the part from `begin` to `end`, in seconds."""

    path: Path
    begin: Seconds | None = None
    end: Seconds | None = None
    channel: Channel = "mix"


def locate(run: Path, base: Path, named: str | None) -> Named:
    """The clip of a row: a copy below `base` ("audio/…"), or the path of its source, with or without a segment
    ("a.wav#t=1.5,3&channel=1").

    Raises `AudioError` if there is none, or it is not on this machine.
    """
    if not named:
        raise AudioError("this row has no clip")
    if named.startswith("audio/"):
        copy = (base / named).resolve()
        if not copy.is_relative_to((base / "audio").resolve()):
            raise AudioError(f"{named} is not within the run")
        if copy.parent.name == "answers" and not copy.is_file():
            raise AudioError(f"{named} is gone: a run keeps train.audio_copies of its newest answers")
        return Named(copy)
    if named.startswith("builtin:"):
        raise AudioError(f"{named} was synthesized and not copied, as the run already had train.audio_copies clips")
    clip = _parsed(named)
    source = _working_folder(run) / clip.path
    if not source.is_file():
        raise AudioError(f"{clip.path} is not on this machine, and the run has no copy of it (train.audio_copies)")
    return replace(clip, path=source)


def playable(clip: Named) -> Path:
    """A file that browsers can play: the original if possible, else a WAV copy.

    Raises `AudioError` if it is not audio.
    """
    if clip == Named(clip.path) and probe(clip.path).format in _PLAYED:
        return clip.path
    return _copies.of_clip(clip)


def waveform(clip: Named) -> dict[str, Any]:
    """The clip's `seconds`, and `peaks`: at most 400 integers from 0 to 100, the largest absolute samples of equal
    parts, scaled such that the loudest is 100. Empty for a silent clip or one of more than 20 minutes.

    Raises `AudioError` if it cannot be decoded.
    """
    return _waveform(playable(clip))


def _read_waveform(path: Path) -> dict[str, Any]:
    info = probe(path)
    if info.seconds > LONGEST:
        return {"seconds": info.seconds, "peaks": []}
    loud = np.abs(read_audio(path, info.rate))
    edges = np.linspace(0, len(loud), min(PEAKS, len(loud)), endpoint=False).astype(int)
    peaks = np.maximum.reduceat(loud, edges)
    top = float(peaks.max())
    scaled = np.round(100 * peaks / top).astype(int).tolist() if top > 0 else []
    return {"seconds": len(loud) / info.rate, "peaks": scaled}


def _parsed(named: str) -> Named:
    """Parse a `FileClip.name`: a path, and what it hears of it."""
    path, mark, fragment = named.rpartition("#")
    heard = dict(part.split("=", 1) for part in fragment.split("&") if "=" in part)
    if not mark or not heard or heard.keys() - {"t", "channel"}:
        return Named(Path(named))
    begin, _, end = heard.get("t", "").partition(",")
    try:
        channel = int(heard["channel"]) if "channel" in heard else "mix"
        return Named(Path(path), float(begin) if begin else None, float(end) if end else None, channel)
    except ValueError:
        return Named(Path(named))


def _working_folder(run: Path) -> Path:
    """The folder that the recipe's relative paths start from."""
    try:
        return Path(json.loads((run / "environment.json").read_bytes())["folder"])
    except (OSError, ValueError, TypeError, KeyError):
        return Path()


class _Files(LRUCache[str, Path]):
    """An LRU cache of files, which removes evicted files."""

    def popitem(self) -> tuple[str, Path]:
        key, path = super().popitem()
        path.unlink(missing_ok=True)
        return key, path


class _Copies:
    """Decoded clips in a temporary folder of the process; the least recently used are removed."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory | None = None
        self._files = _Files(_COPIES)
        self._lock = Lock()

    def of_clip(self, clip: Named) -> Path:
        key = hashlib.sha256(f"{clip} {stamp(clip.path)}".encode()).hexdigest()[:24]
        with self._lock:
            if key not in self._files:
                rate = probe(clip.path).rate
                waveform = read_audio(clip.path, rate, clip.begin, clip.end, channel=clip.channel)
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="antiphon-clips-")
                place = Path(self._folder.name) / f"{key}.wav"
                place.write_bytes(wav(waveform, rate, "int16"))
                self._files[key] = place
            return self._files[key]


_copies = _Copies()
_waveform = Cached(_read_waveform)
