"""Whether the answer is written in the scripts of the reference."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable

from antiphon.config import Settings as StrictSettings
from antiphon.rewards.sample import Sample


class Settings(StrictSettings):
    """The reward `language` has no settings."""


def highest(settings: Settings) -> float:
    """The largest overlap."""
    return 1.0


def build(settings: Settings) -> Callable[[Sample], float]:
    """The reward: the overlap of the answer's scripts with those of the reference, from 0 to 1.

    Σ over scripts of min(share in the answer, share in the reference), as shares of letters. It detects a Russian clip
    translated into English or transliterated, and Japanese written only in Chinese characters. It cannot distinguish
    languages of one script, such as English and French. An answer without letters gets 1 if the reference has none
    either, else 0.
    """

    def language(sample: Sample) -> float:
        answer, reference = _scripts(sample.words), _scripts(sample.label)
        if not answer or not reference:
            return float(answer == reference)
        shares = [(count / answer.total(), reference[script] / reference.total()) for script, count in answer.items()]
        return sum(min(pair) for pair in shares)

    return language


def _scripts(text: str) -> Counter[str]:
    """Number of letters per script, the first word of a letter's Unicode name: LATIN, CYRILLIC, CJK, HIRAGANA."""
    letters = (character for character in unicodedata.normalize("NFKC", text) if character.isalpha())
    return Counter(unicodedata.name(letter, "?").partition(" ")[0] for letter in letters)
