"""Word or character error rate as a reward: fewer errors, more reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, PositiveFloat

from antiphon.config import Settings as StrictSettings
from antiphon.rewards.sample import Sample
from antiphon.text.alignment import char_errors, word_errors
from antiphon.text.normalise import NormaliserName
from antiphon.types import Reward


class Settings(StrictSettings):
    """Settings of the reward `wer`."""

    cap: PositiveFloat | None = Field(
        default=1.0,
        description="Largest error rate that is told apart; null for none (the rate is unbounded).",
    )
    normaliser: NormaliserName = Field(default="default", description="What is made equal before comparing.")
    unit: Literal["word", "char"] = Field(default="word", description="Words (WER) or characters (CER).")
    weighting: Literal["clip", "corpus"] = Field(
        default="clip", description="clip: -rate of each clip. corpus: -edits / scale, whatever the length."
    )
    scale: PositiveFloat = Field(default=10.0, description="For corpus: how many edits cost a reward of 1.")


def build(settings: Settings) -> ErrorRateReward:
    """The reward with these settings."""
    return ErrorRateReward(settings)


class ErrorRateReward:
    """`clip`: −min(edits / L, cap), with L the reference length in units.

    `corpus`: −min(edits, cap·L) / scale. Every edit weighs the same wherever it occurs, as in corpus WER,
    Σ edits / Σ L, which this is up to a constant; `clip` weighs an edit in a short clip more.

    An empty reference counts as L = 1: silence earns 0, each word made up costs like an error in one word.
    Parts: the uncapped rate, as "wer" or "cer", and "edits".
    """

    name = "wer"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def score(self, samples: Sequence[Sample]) -> list[Reward | None]:
        return [self._score(sample) for sample in samples]

    def _score(self, sample: Sample) -> Reward:
        settings = self._settings
        count = word_errors if settings.unit == "word" else char_errors
        errors = count(sample.label, sample.response, sample.language, normaliser_name=settings.normaliser)
        length = max(errors.ref_len, 1)
        cost = float(errors.edits) if settings.cap is None else min(errors.edits, settings.cap * length)
        cost /= length if settings.weighting == "clip" else settings.scale
        rate_name = "wer" if settings.unit == "word" else "cer"
        return Reward(value=0.0 - cost, parts={rate_name: errors.rate, "edits": float(errors.edits)})
