"""Augments waveforms as a recipe says: what is done, and how strongly, is drawn from a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soxr

from antiphon.audio import augment
from antiphon.audio.cache import ClipCache
from antiphon.audio.codecs import transcode
from antiphon.audio.decode import FileClip
from antiphon.config.augment import Augment, Effect, Noise, Reverb
from antiphon.errors import ConfigError
from antiphon.types import Hertz, Seconds

Draw = np.random.Generator


class Augmentation:
    """The effects of a recipe, in the order in which they happen: the speaker, the room, the noise, the line.

    A clip that would be louder than full scale afterwards is made quieter as a whole.
    """

    def __init__(self, settings: Augment, rate: Hertz) -> None:
        """Raises `ConfigError` for files of noise or rooms that are not there."""
        self.settings, self.rate = settings, rate
        self._clips = ClipCache(rate)
        self._noises = _files(settings.noise.files, "data.augment.noise.files") if settings.noise else []
        self._rooms = _files(settings.reverb.files, "data.augment.reverb.files") if settings.reverb else []

    def __call__(self, speech: np.ndarray, rng: Draw, fits: Callable[[Seconds], bool] = lambda _: True) -> np.ndarray:
        """Augment mono float32 [samples]; `fits` says whether a clip of another length may be. Raises `AudioError` for
        a file of noise or a room that cannot be read."""
        settings = self.settings
        if settings.speed and _happens(settings.speed, rng):
            speech = self._faster(speech, rng.uniform(*settings.speed.factor), fits)
        if settings.reverb and _happens(settings.reverb, rng):
            speech = self._in_a_room(speech, settings.reverb, rng)
        if settings.noise and _happens(settings.noise, rng):
            speech = augment.add_noise(
                speech, self._noise(len(speech), settings.noise, rng), rng.uniform(*settings.noise.snr_db)
            )
        if settings.codec and _happens(settings.codec, rng):
            codec = settings.codec.names[int(rng.integers(len(settings.codec.names)))]
            speech = transcode(speech, self.rate, codec, float(rng.uniform(0, 1)))
        if settings.telephone and _happens(settings.telephone, rng):
            speech = augment.telephone(speech, self.rate)
        if settings.gain and _happens(settings.gain, rng):
            speech = augment.amplify(speech, rng.uniform(*settings.gain.db))
        return _within_scale(self._masked(speech, rng))

    def _faster(self, speech: np.ndarray, factor: float, fits: Callable[[Seconds], bool]) -> np.ndarray:
        if not fits(len(speech) / factor / self.rate):
            return speech
        return np.asarray(soxr.resample(speech, self.rate * factor, self.rate), dtype=np.float32)

    def _in_a_room(self, speech: np.ndarray, room: Reverb, rng: Draw) -> np.ndarray:
        if not self._rooms:
            return augment.reverberate(speech, self.rate, rng.uniform(*room.rt60), rng)
        return augment.convolve(speech, self._clips.load(_one_of(self._rooms, rng)))

    def _noise(self, samples: int, noise: Noise, rng: Draw) -> np.ndarray:
        """Background of so many samples: from a random place of a file, which is repeated where it is short."""
        if not self._noises:
            return augment.colored_noise(samples, noise.colors[int(rng.integers(len(noise.colors)))], rng)
        recorded = self._clips.load(_one_of(self._noises, rng))
        return np.resize(np.roll(recorded, -int(rng.integers(len(recorded)))), samples)

    def _masked(self, speech: np.ndarray, rng: Draw) -> np.ndarray:
        time, band = self.settings.time_mask, self.settings.frequency_mask
        if time and _happens(time, rng):
            for _ in range(int(rng.integers(1, time.spans + 1))):
                samples = min(int(rng.uniform(*time.seconds) * self.rate), len(speech) // 10)
                speech = augment.mask_time(speech, int(rng.integers(len(speech) - samples + 1)), samples)
        if band and _happens(band, rng):
            for _ in range(int(rng.integers(1, band.bands + 1))):
                width = rng.uniform(*band.hertz)
                low = rng.uniform(0, max(self.rate / 2 - width, 0))
                speech = augment.mask_frequency(speech, self.rate, low, low + width)
        return speech


def _happens(effect: Effect, rng: Draw) -> bool:
    return bool(rng.random() < effect.probability)


def _one_of(clips: Sequence[FileClip], rng: Draw) -> FileClip:
    return clips[int(rng.integers(len(clips)))]


def _within_scale(speech: np.ndarray) -> np.ndarray:
    peak = float(np.abs(speech).max(initial=0.0))
    return speech if peak <= 1 else (speech / peak).astype(np.float32)


def _files(names: Sequence[str], key: str) -> list[FileClip]:
    """The files, and those in folders, in an order that does not depend on the machine."""
    found: list[Path] = []
    for name in names:
        path = Path(name)
        inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
        found += inside if path.is_dir() else [path]
        if not path.exists() or (path.is_dir() and not inside):
            raise ConfigError(f"{key!r}: {name} {'is empty' if path.exists() else 'does not exist'}; name recordings")
    return [FileClip(path) for path in found]
