"""Whether the answer has the form that was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeFloat

from antiphon.config import Settings as StrictSettings
from antiphon.rewards.sample import Sample
from antiphon.text.tags import TagName, fits, tag_counts
from antiphon.types import Reward


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression, but {pattern!r} is none: {error}") from error
    return pattern


class Settings(StrictSettings):
    """Settings of the reward `format`."""

    pattern: Annotated[str, AfterValidator(_regex)] | None = Field(
        default=None, description="Regular expression of the whole answer, from its first character to its last."
    )
    tags: list[TagName] = Field(
        default=["reasoning", "answer"], min_length=1, description="Without a pattern: the answer's blocks, in order."
    )
    bonus: NonNegativeFloat = Field(default=1.0, description="Reward of an answer that fits.")
    tag: NonNegativeFloat = Field(
        default=0.0, description="Where blocks do not fit: reward of a tag that occurs once, cost of any other."
    )


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings: `bonus` where the answer fits (see `tags.fits`), else 0.

    With `tag`, an answer whose blocks do not fit gets ±tag for each opening and each closing tag. The part "fits"
    is 1 or 0. With bonus 3 and tag 0.5 it is the format reward of MaxText's audio GRPO for Qwen3-Omni.
    """

    def format(sample: Sample) -> Reward:
        if settings.pattern is not None:
            fit = re.fullmatch(settings.pattern, sample.response, re.DOTALL) is not None
            near = 0.0
        else:
            fit = fits(sample.response, settings.tags)
            near = settings.tag * sum(1 if n == 1 else -1 for n in tag_counts(sample.response, settings.tags))
        return Reward(settings.bonus if fit else near, {"fits": float(fit)})

    return format
