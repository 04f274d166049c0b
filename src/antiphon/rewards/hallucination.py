"""Penalty on hallucinated words and on empty transcripts, which WER alone does not separate from other failures."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field, NonNegativeFloat

from antiphon.config import Settings as StrictSettings
from antiphon.rewards.sample import Sample
from antiphon.text.alignment import word_errors
from antiphon.text.normalize import NormalizerName
from antiphon.types import Reward


class Settings(StrictSettings):
    """Settings of the reward `hallucination`."""

    threshold: NonNegativeFloat = Field(default=0.3, description="No penalty up to this WER.")
    insertions: NonNegativeFloat = Field(
        default=1.0, description="Penalty for as many inserted words as the reference has, which is the maximum."
    )
    empty: NonNegativeFloat = Field(default=1.0, description="Penalty for no words if the reference has some.")
    normalizer: NormalizerName = Field(default="default", description="Text normalization before comparing.")


def highest(settings: Settings) -> float:
    """The reward of an answer without a penalty."""
    return 0.0


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings, to add to `wer`.

    0 if WER ≤ threshold, else −insertions · min(I / L, 1) − empty · [no words, L > 0], with I inserted words and L
    reference words (1 for an empty reference). Parts: "insertions", I / L, and "empty", 0 or 1.

    After Mega-ASR (arXiv 2605.19833), which finds that above about 30% WER recognizers hallucinate or omit whole
    sentences, and that 1 − WER alone does not rank such failures. The terms are ours.
    """

    def hallucination(sample: Sample) -> Reward:
        errors = word_errors(sample.label, sample.words, sample.language, normalizer_name=settings.normalizer)
        inserted = errors.insertions / max(errors.ref_len, 1)
        empty = float(errors.hyp_len == 0 < errors.ref_len)
        cost = settings.insertions * min(inserted, 1.0) + settings.empty * empty
        value = 0.0 if errors.rate <= settings.threshold else 0.0 - cost
        return Reward(value, {"insertions": inserted, "empty": empty})

    return hallucination
