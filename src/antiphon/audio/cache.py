"""Decoded waveforms, kept while there is room for them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from cachetools import LRUCache, cached

from antiphon.types import Clip, Hertz

LIMIT_BYTES = 1 << 29
"""512 MiB: two hours and twenty minutes at 16 kHz."""


class ClipCache:
    """Waveforms by clip, the least recently used dropped first; one larger than all the room is not kept.

    A clip that is read again reads the same, so no result depends on what is kept. Threads may share it.
    """

    def __init__(self, rate: Hertz, limit_bytes: int = LIMIT_BYTES) -> None:
        kept: LRUCache[Any, np.ndarray] = LRUCache(limit_bytes, getsizeof=lambda waveform: waveform.nbytes)
        self._load = cached(kept, lock=threading.Lock())(lambda clip: clip.load(rate))

    def load(self, clip: Clip) -> np.ndarray:
        """The clip's waveform: mono float32 [samples]. Raises what `clip.load` raises."""
        return self._load(clip)
