"""Exact match: 1 if the answer equals the reference, else 0. For labels, commands and short answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field
from rapidfuzz.distance import Levenshtein

from antiphon.config import Settings as StrictSettings
from antiphon.rewards.sample import Sample
from antiphon.text.normalize import NormalizerName, normalizer
from antiphon.types import Reward


class Settings(StrictSettings):
    """Settings of the reward `exact`."""

    normalizer: NormalizerName = Field(default="default", description="Text normalization before comparing.")
    aliases: Mapping[str, str] = Field(default={}, description="Synonyms and what they stand for, such as {yeah: yes}.")
    fuzzy: float | None = Field(
        default=None, gt=0, le=1, description="Minimum edit similarity that counts as equal; null for exact match only."
    )


def highest(settings: Settings) -> float:
    """The reward of an answer that equals its reference."""
    return 1.0


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings.

    1 if answer and reference are equal after normalization and replacement of aliases, else 0.

    With `fuzzy`, 1 if their edit similarity, 1 − edits / length of the longer in characters (Levenshtein), reaches
    `fuzzy`. The part "similarity" holds it. Choose a value at which no two labels match.
    """

    def canonical(text: str, language: str | None) -> str:
        clean = normalizer(language, settings.normalizer)
        aliases = {clean(other): clean(meant) for other, meant in settings.aliases.items()}
        return aliases.get(clean(text), clean(text))

    def exact(sample: Sample) -> Reward:
        label, response = (canonical(text, sample.language) for text in (sample.label, sample.words))
        if settings.fuzzy is None:
            return Reward(float(label == response))
        similarity = Levenshtein.normalized_similarity(label, response)
        return Reward(float(similarity >= settings.fuzzy), {"similarity": similarity})

    return exact
