"""What a recipe may say of sampling and rewards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from antiphon.config.settings import Fraction, Settings


def _engine(value: Any) -> Any:
    if isinstance(value, str) and value:
        return {"name": value}
    if isinstance(value, dict) and isinstance(value.get("name"), str) and value["name"]:
        return value
    raise ValueError("must be an engine's name, or a mapping with its name: {name: in_process, ...}")


def _block_tokens(value: Any) -> Any:
    is_ids = isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)
    if value != "special" and not is_ids:
        raise ValueError("must be 'special' or a list of token ids, such as [] to block none")
    return value


class Rollout(Settings):
    """How the model is asked."""

    group_size: PositiveInt | None = Field(
        default=None, description="Completions sampled for each prompt (G): 8, or with `hypotheses: all` every label."
    )
    temperature: NonNegativeFloat = Field(
        default=1.0, description="Sampling temperature; the loss sees the same one. 0 is greedy, for distillation."
    )
    max_new_tokens: PositiveInt = Field(default=64, description="Longest completion, in tokens.")
    prompts_per_step: PositiveInt | None = Field(
        default=16, description="Distinct prompts in one step (P); null for the whole training set."
    )
    engine: Annotated[dict[str, Any], BeforeValidator(_engine)] = Field(
        default={"name": "in_process"},
        description="What samples: an engine's name, or a mapping of its name and options.",
    )
    max_tokens: PositiveInt = Field(
        default=32768,
        description="Positions of prompts and of completions at their longest that are decoded at once; lower it when "
        "memory runs out.",
    )
    block_tokens: Annotated[Literal["special"] | list[int], BeforeValidator(_block_tokens)] = Field(
        default="special", description="Token ids never sampled: the special ones, or a list."
    )
    block_tokens_from: NonNegativeInt | None = Field(
        default=None, description="No token id from this one on is ever sampled, stop tokens apart; none by default."
    )
    top_k: PositiveInt | None = Field(default=None, description="Draw from this many most probable tokens alone.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Draw from the fewest tokens that have this much of the probability together."
    )
    min_p: Fraction | None = Field(
        default=None, description="Draw from tokens of at least this share of the best one's probability."
    )
    off_policy_filters: bool = Field(
        default=False, description="Train on what was drawn through top_k, top_p or min_p, biased as it is."
    )

    @model_validator(mode="after")
    def _on_policy(self) -> Rollout:
        filters = [name for name in ("top_k", "top_p", "min_p") if getattr(self, name) is not None]
        if filters and not self.off_policy_filters:
            raise ValueError(
                f"must not draw through a filter ({', '.join(filters)}): the loss takes every token to be drawn from "
                "the whole distribution, so its gradient would be biased; leave the filter out, or accept the bias "
                "with 'rollout.off_policy_filters: true'"
            )
        return self


class RewardLimits(Settings):
    """How rewards are called, and what becomes of a sample for which one fails."""

    concurrency: PositiveInt = Field(default=64, description="Calls of an async reward in flight at a time.")
    timeout_s: PositiveFloat | None = Field(
        default=120.0, description="Seconds an async call may take before it has failed; null for any time."
    )
    retries: NonNegativeInt = Field(default=0, description="Further tries of a call that raises or takes too long.")
    on_failure: Literal["error", "drop"] = Field(
        default="error", description="A failed reward stops the run, or its sample is counted and not learned from."
    )
