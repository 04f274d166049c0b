"""Recipe settings: sampling, and how rewards are called."""

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


LONGEST = 64


class Rollout(Settings):
    """How completions are sampled."""

    group_size: PositiveInt | None = Field(
        default=None, description="Completions per prompt (G). Default: 8, or every label with `hypotheses: all`."
    )
    temperature: NonNegativeFloat = Field(
        default=1.0, description="Sampling temperature; the loss uses it too. 0 is greedy, for distillation."
    )
    max_new_tokens: PositiveInt | None = Field(
        default=None, description="Maximum completion length, in tokens. Default: 64, or what the model has room for."
    )
    truncated: Literal["keep", "mask", "penalize"] = Field(
        default="keep",
        description="Completions cut at max_new_tokens: keep them, mask them from the loss, or penalize their reward.",
    )
    truncation_penalty: NonNegativeFloat = Field(
        default=1.0, description="With `truncated: penalize`: what such a completion's reward is lowered by."
    )
    prompts_per_step: PositiveInt | None = Field(
        default=16, description="Distinct prompts per step (P); null for the whole training set."
    )
    engine: Annotated[dict[str, Any], BeforeValidator(_engine)] = Field(
        default={"name": "in_process"},
        description="Engine that samples the completions: a name, or a mapping of its name and options.",
    )
    max_tokens: PositiveInt = Field(
        default=32768,
        description="Decoding batch size: positions of prompts and of completions at their maximum length; lower it "
        "if memory runs out.",
    )
    block_tokens: Annotated[Literal["special"] | list[int], BeforeValidator(_block_tokens)] = Field(
        default="special", description="Token ids that are never sampled: special (all special tokens), or a list."
    )
    block_tokens_from: NonNegativeInt | None = Field(
        default=None, description="Never sample token ids from this one up, except stop tokens; default: no limit."
    )
    top_k: PositiveInt | None = Field(default=None, description="Sample from the k most probable tokens only.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Nucleus sampling: the fewest tokens whose probabilities add up to top_p."
    )
    min_p: Fraction | None = Field(
        default=None, description="Sample from tokens with at least min_p times the highest probability."
    )
    off_policy_filters: bool = Field(
        default=False, description="Train on samples filtered by top_k, top_p or min_p, although biased."
    )

    @property
    def longest(self) -> int:
        """Maximum completion length, in tokens; without `max_new_tokens` a prompt may leave room for fewer."""
        return self.max_new_tokens or LONGEST

    @model_validator(mode="after")
    def _on_policy(self) -> Rollout:
        filters = [name for name in ("top_k", "top_p", "min_p") if getattr(self, name) is not None]
        if filters and not self.off_policy_filters:
            raise ValueError(
                f"must not filter tokens ({', '.join(filters)}): the loss assumes sampling from the full distribution, "
                "so its gradient would be biased; leave the filter out, or accept the bias "
                "with 'rollout.off_policy_filters: true'"
            )
        return self


class RewardLimits(Settings):
    """How rewards are called, and what happens to a sample if one fails."""

    concurrency: PositiveInt = Field(default=64, description="Maximum concurrent calls of an async reward.")
    timeout_s: PositiveFloat | None = Field(
        default=120.0, description="Timeout of a call of your function, in seconds; null for none."
    )
    retries: NonNegativeInt = Field(default=0, description="Retries of a call that raises or times out.")
    on_failure: Literal["error", "drop"] = Field(
        default="error",
        description="If a reward fails, stop the run (error), or leave its sample out of the loss and count it (drop).",
    )
