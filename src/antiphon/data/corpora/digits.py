"""Spoken digit strings: three to six of "zero" to "nine"."""

from __future__ import annotations

import numpy as np

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def sentence(rng: np.random.Generator) -> str:
    """One random digit string; its length and digits are drawn uniformly."""
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=rng.integers(3, 7)))
