"""Levels of a recording, from the blocks in which it is decoded."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

FULL_SCALE = 0.999
"""Samples from here on count as clipped: 32,767 of 16 bits and the rounding of lossy codecs."""


class Figures(NamedTuple):
    """What `Levels` has measured."""

    peak: float
    """The largest absolute sample of any channel."""
    rms: float
    """Root mean square of the mono samples."""
    clipped: float
    """Share of samples, of all channels, at full scale."""
    cancelled: float
    """Share of the channels' power that is gone in the mono samples; 0 for one channel."""
    digest: str
    """32 hexadecimal digits of the mono samples, BLAKE2b (RFC 7693)."""


class Levels:
    """Adds up the levels of blocks."""

    def __init__(self) -> None:
        self._peak = self._mono = self._channels = 0.0
        self._frames = self._samples = self._clipped = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, block: np.ndarray, mono: np.ndarray) -> None:
        """Add a block of samples [n, channels] and what is heard of it [n], both float32."""
        if not len(mono):
            return
        high, low = float(block.max()), float(block.min())
        peak = max(high, -low)
        if peak >= FULL_SCALE:
            self._clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
        self._peak = max(self._peak, peak)
        power = float(np.dot(mono, mono))
        self._mono += power
        self._channels += power if block.shape[1] == 1 else float(np.vdot(block, block)) / block.shape[1]
        self._frames += len(mono)
        self._samples += block.size
        self._digest.update(np.ascontiguousarray(mono, np.float32).data)

    def figures(self) -> Figures:
        """The levels of all blocks."""
        frames, samples = max(self._frames, 1), max(self._samples, 1)
        cancelled = max(0.0, 1 - self._mono / self._channels) if self._channels else 0.0
        return Figures(
            self._peak, (self._mono / frames) ** 0.5, self._clipped / samples, cancelled, self._digest.hexdigest()
        )
