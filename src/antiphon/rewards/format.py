"""Format reward: whether the answer matches a pattern or a sequence of tagged blocks."""

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
        raise ValueError(f"must be a regular expression, but {pattern!r} is not one: {error}") from error
    return pattern


class Settings(StrictSettings):
    """Settings of the reward `format`."""

    pattern: Annotated[str, AfterValidator(_regex)] | None = Field(
        default=None, description="Regular expression that must match the whole answer."
    )
    tags: list[TagName] = Field(
        default=["reasoning", "answer"], min_length=1, description="Without a pattern: the answer's blocks, in order."
    )
    bonus: NonNegativeFloat = Field(default=1.0, description="Reward of an answer that matches.")
    tag: NonNegativeFloat = Field(
        default=0.0, description="If blocks do not match: reward per tag that occurs once, penalty per other tag."
    )


def highest(settings: Settings) -> float:
    """The reward of an answer that matches, or has every tag once where that earns more."""
    return max(settings.bonus, 0.0 if settings.pattern else 2 * settings.tag * len(settings.tags))


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings: `bonus` if the answer matches (see `tags.fits`), else 0.

    With `tag`, an answer whose blocks do not match gets +tag for each opening or closing tag that occurs once, and −tag
    for each other one. The part "fits" is 1 or 0. With bonus 3 and tag 0.5 it is the format reward of MaxText's audio
    GRPO for Qwen3-Omni, but for answers that docs/recipes.md lists (`omni`), such as repeated blocks.
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
