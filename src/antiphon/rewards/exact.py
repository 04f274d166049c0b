"""Whether the answer is the right one: 1 or 0. For labels, commands and short answers."""

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

    normalizer: NormalizerName = Field(default="default", description="What is made equal before comparing.")
    aliases: Mapping[str, str] = Field(
        default={}, description="Other wordings and what they stand for, such as {yeah: yes}."
    )
    fuzzy: float | None = Field(
        default=None, gt=0, le=1, description="Least edit similarity that counts as equal; null for none but equality."
    )


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings.

    1 where answer and reference are equal once normalized and put in their aliases' place, else 0.

    With `fuzzy`, 1 where their edit similarity, 1 − edits / length of the longer in characters (Levenshtein), is at
    least that; it is the part "similarity". Choose it so that no label passes for another.
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
