"""Recordings whose row states how long they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from antiphon.audio.decode import AudioInfo, FileClip
from antiphon.audio.levels import Levels
from antiphon.errors import AudioError
from antiphon.types import Hertz, Seconds

TOLERANCE: Seconds = 0.5
"""Between the stated length and the file's: manifests round, and encoders pad."""


@dataclass(frozen=True)
class StatedClip(FileClip):
    """A whole recording of a NeMo manifest, whose row states a duration and no offset."""

    duration: Seconds = 0.0

    def load(self, rate: Hertz) -> np.ndarray:
        waveform = super().load(rate)
        self._require(len(waveform) / rate)
        return waveform

    def scan(self, levels: Levels | None = None) -> tuple[AudioInfo, Seconds]:
        info, seconds = super().scan(levels)
        self._require(seconds)
        return info, seconds

    def seconds(self) -> Seconds:
        seconds = super().seconds()
        self._require(seconds)
        return seconds

    def _require(self, seconds: Seconds) -> None:
        if abs(seconds - self.duration) > TOLERANCE:
            raise AudioError(
                f"{self.path}: lasts {seconds:.6g} s, but its row states a duration of {self.duration:.6g} s and no "
                'offset; add "offset": 0 if it is the first part of the file, or correct the duration'
            )
