"""Decoded waveforms, kept while there is room for them."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from antiphon.types import Clip, Hertz

LIMIT_BYTES = 1 << 29
"""512 MiB: two hours and twenty minutes at 16 kHz."""


class ClipCache:
    """Waveforms by clip, the least recently used dropped first.

    A clip that is read again reads the same, so no result depends on what is kept.
    """

    def __init__(self, rate: Hertz, limit_bytes: int = LIMIT_BYTES) -> None:
        self._rate, self._limit, self._bytes = rate, limit_bytes, 0
        self._waveforms: OrderedDict[Clip, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, clip: Clip) -> np.ndarray:
        """The clip's waveform: mono float32 [samples]. Raises what `clip.load` raises."""
        with self._lock:
            if clip in self._waveforms:
                self._waveforms.move_to_end(clip)
                return self._waveforms[clip]
        waveform = clip.load(self._rate)
        with self._lock:
            if clip not in self._waveforms:
                self._waveforms[clip] = waveform
                self._bytes += waveform.nbytes
            while self._bytes > self._limit and len(self._waveforms) > 1:
                self._bytes -= self._waveforms.popitem(last=False)[1].nbytes
        return waveform
