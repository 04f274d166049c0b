"""What a recipe may say of the optimizer, the adapters and the course of training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Strict,
)

from antiphon.config.settings import Fraction, Settings, listed


def _targets(value: Any) -> Any:
    if value == "all-linear":
        return value
    names = listed(value)
    if not names or not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be all-linear, or names of parts or layers: [language_model], [q_proj, v_proj]")
    return names


def _save_every(value: int) -> int:
    if value == 0 or value < -1:
        raise ValueError(f"must be a number of steps, or -1 to save at the end alone, got {value}")
    return value


class Optimizer(Settings):
    """AdamW and its schedule."""

    lr: PositiveFloat = Field(default=1e-6, description="Peak learning rate.")
    warmup_steps: NonNegativeInt = Field(default=0, description="Steps of linear warm-up.")
    schedule: Literal["constant", "cosine", "exponential"] = Field(
        default="constant", description="Learning rate after warm-up."
    )
    min_lr_ratio: Fraction = Field(default=0.0, description="Least learning rate of a schedule, as a fraction of lr.")
    decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.85, description="Factor of the exponential schedule at each step."
    )
    weight_decay: NonNegativeFloat = Field(default=0.0, description="Decoupled weight decay.")
    betas: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], Strict(False)] = (
        Field(default=(0.9, 0.95), description="Decay rates of the two moments.")
    )
    max_grad_norm: PositiveFloat = Field(default=1.0, description="Gradients are scaled down to this global norm.")


class Lora(Settings):
    """Small matrices beside the linear layers, trained in their stead."""

    rank: PositiveInt = Field(default=16, description="Rank of an adapter.")
    alpha: PositiveFloat = Field(default=32.0, description="An adapter's output is scaled by alpha / rank.")
    target: Annotated[Literal["all-linear"] | list[str], BeforeValidator(_targets)] = Field(
        default="all-linear", description="Every linear layer but the head, or parts and endings of layers' names."
    )
    save: Literal["adapter", "merged"] = Field(
        default="adapter", description="What checkpoints hold: the adapter in peft's form, or the whole model."
    )


class Train(Settings):
    """How long to train, in what portions, and what to keep."""

    steps: PositiveInt = Field(default=100, description="Rollouts to learn from.")
    minibatches: PositiveInt = Field(default=1, description="Optimizer steps in one pass over a rollout.")
    epochs: PositiveInt = Field(default=1, description="Passes over each rollout.")
    max_tokens_per_batch: PositiveInt = Field(
        default=32768,
        description="Positions of prompts and completions in one forward and backward pass; lower it when memory "
        "runs out.",
    )
    activation_checkpointing: bool = Field(
        default=False, description="Compute each layer's activations again in the backward pass, to save memory."
    )
    cache_features_mb: NonNegativeInt = Field(
        default=0, description="MiB of memory for the audio features of a frozen encoder; 0 keeps none."
    )
    router_aux_loss_coef: NonNegativeFloat = Field(
        default=0.0, description="Weight of the load-balancing loss of a mixture of experts."
    )
    save_every: Annotated[int, AfterValidator(_save_every)] = Field(
        default=50, description="Steps between checkpoints; -1 saves at the end alone."
    )
    keep_checkpoints: PositiveInt = Field(default=3, description="Checkpoints kept, the newest ones.")
    keep_best: bool = Field(
        default=True, description="Keep the checkpoint of the best evaluation too, and save one where there is none."
    )
    log_rollouts_every: PositiveInt = Field(default=1, description="Steps between rollout files.")
    audio_copies: NonNegativeInt = Field(default=64, description="Most clips copied into the run folder.")
