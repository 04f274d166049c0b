"""A bounded cache of decoded waveforms."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from cachetools import LRUCache, cached

from antiphon.types import Clip, Hertz

LIMIT_BYTES = 1 << 29
"""512 MiB: two hours and twenty minutes at 16 kHz."""


class ClipCache:
    """An LRU cache of waveforms by clip; one larger than the cache is not kept.

    Decoding is deterministic, so no result depends on the cache. Thread-safe.
    """

    def __init__(self, rate: Hertz, limit_bytes: int = LIMIT_BYTES) -> None:
        kept: LRUCache[Any, np.ndarray] = LRUCache(limit_bytes, getsizeof=lambda waveform: waveform.nbytes)
        self._load = cached(kept, lock=threading.Lock())(lambda clip: clip.load(rate))

    def load(self, clip: Clip) -> np.ndarray:
        """The clip's waveform: mono float32 [samples]. Raises the errors of `clip.load`."""
        return self._load(clip)
