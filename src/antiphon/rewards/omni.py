"""WER of a transcript in an answer tag, after reasoning: after the reward of MaxText's audio GRPO for Qwen3-Omni.

The figures are MaxText's on answers of the form that is asked for; docs/recipes.md lists where the rules differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from antiphon.config import Settings as StrictSettings
from antiphon.rewards.sample import Sample
from antiphon.text.alignment import char_errors, word_errors
from antiphon.text.normalize import NormalizerName
from antiphon.text.tags import TagName, last_answer
from antiphon.types import Reward


class Settings(StrictSettings):
    """Settings of the reward `omni`."""

    tags: list[TagName] = Field(
        default=["reasoning", "answer"],
        min_length=2,
        max_length=2,
        description="Tags of the reasoning and of the answer.",
    )
    answer: NonNegativeFloat = Field(default=1.0, description="Reward for an answer in its tag.")
    no_answer: float = Field(default=-2.0, description="Reward without such an answer.")
    cap: PositiveFloat = Field(default=2.0, description="Upper limit of the error rate in the reward.")
    exact: NonNegativeFloat = Field(default=3.0, description="Bonus for an answer without errors.")
    normalizer: NormalizerName = Field(default="default", description="Text normalization before comparing.")
    unit: Literal["word", "char"] = Field(default="word", description="Words (WER) or characters (CER).")


def highest(settings: Settings) -> float:
    """The reward of an answer without errors, or without an answer where that earns more."""
    return max(settings.answer + settings.exact, settings.no_answer)


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings: answer − min(rate, cap) + exact · [no errors], or `no_answer`.

    The last answer outside the reasoning counts (see `tags.last_answer`). Parts: "answered", 1 or 0, and the "wer" or
    "cer" of an answer. Add the reward `format` to score the tags.
    """
    count = word_errors if settings.unit == "word" else char_errors
    rate_name = "wer" if settings.unit == "word" else "cer"
    reasoning, answer_tag = settings.tags

    def omni(sample: Sample) -> Reward:
        answer = last_answer(sample.response, reasoning, answer_tag)
        if answer is None:
            return Reward(settings.no_answer, {"answered": 0.0})
        errors = count(sample.label, answer, sample.language, normalizer_name=settings.normalizer)
        value = settings.answer - min(errors.rate, settings.cap) + settings.exact * (errors.edits == 0)
        return Reward(value, {"answered": 1.0, rate_name: errors.rate})

    return omni
