"""The negative word or character error rate as a reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from antiphon.config import Settings as StrictSettings
from antiphon.rewards.sample import Sample
from antiphon.text.alignment import char_errors, word_errors
from antiphon.text.normalize import NormalizerName
from antiphon.types import Reward


class Settings(StrictSettings):
    """Settings of the reward `wer`."""

    form: Literal["error", "accuracy"] = Field(
        default="error", description="error: −rate. accuracy: 1 − min(rate, 1), which suits RAFT's threshold."
    )
    cap: PositiveFloat | None = Field(
        default=1.0,
        description="Upper limit of the error rate in the reward; null for none.",
    )
    normalizer: NormalizerName = Field(default="default", description="Text normalization before comparing.")
    unit: Literal["word", "char"] = Field(default="word", description="Words (WER) or characters (CER).")
    weighting: Literal["clip", "corpus"] = Field(
        default="clip", description="clip: −rate of each clip. corpus: −edits / scale, independent of length."
    )
    scale: PositiveFloat = Field(default=10.0, description="For corpus: number of edits that cost a reward of 1.")

    @model_validator(mode="after")
    def _accuracy_is_of_a_clip(self) -> Settings:
        if self.form == "accuracy" and (self.cap != 1 or self.weighting != "clip"):
            raise ValueError("has form: accuracy, which is 1 − min(rate, 1) of each clip; leave out cap and weighting")
        return self


def highest(settings: Settings) -> float:
    """The reward of an answer without errors."""
    return 1.0 if settings.form == "accuracy" else 0.0


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings.

    `clip`: −min(edits / L, cap), with L the reference length in units (words or characters); form `accuracy` adds 1.

    `corpus`: −min(edits, cap·L) / scale. Every edit has the same weight, as in corpus WER, Σ edits / Σ L, which this
    equals up to a constant; `clip` gives an edit in a short clip more weight.

    An empty reference counts as L = 1: an empty answer gets 0, and each hallucinated word costs as much as an error in
    one word. Parts: the uncapped rate, as "wer" or "cer", and "edits".
    """
    count = word_errors if settings.unit == "word" else char_errors
    rate_name = "wer" if settings.unit == "word" else "cer"
    best = 1.0 if settings.form == "accuracy" else 0.0

    def wer(sample: Sample) -> Reward:
        errors = count(sample.label, sample.words, sample.language, normalizer_name=settings.normalizer)
        length = max(errors.ref_len, 1)
        cost = float(errors.edits) if settings.cap is None else min(errors.edits, settings.cap * length)
        cost /= length if settings.weighting == "clip" else settings.scale
        return Reward(value=best - cost, parts={rate_name: errors.rate, "edits": float(errors.edits)})

    return wer
