"""Recipe settings: optimizer, LoRA and the training loop."""

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
        raise ValueError(f"must be a number of steps, or -1 to save at the end only, got {value}")
    return value


class Optimizer(Settings):
    """AdamW and its learning rate schedule."""

    lr: PositiveFloat = Field(default=1e-6, description="Peak learning rate.")
    warmup_steps: NonNegativeInt = Field(default=0, description="Steps of linear warm-up.")
    schedule: Literal["constant", "cosine", "exponential"] = Field(
        default="constant", description="Learning rate schedule after warm-up."
    )
    min_lr_ratio: Fraction = Field(
        default=0.0, description="Minimum learning rate of the schedule, as a fraction of lr."
    )
    decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.85, description="Factor per step of the exponential schedule."
    )
    weight_decay: NonNegativeFloat = Field(default=0.0, description="Decoupled weight decay.")
    betas: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], Strict(False)] = (
        Field(default=(0.9, 0.95), description="Decay rates of the first and second moments.")
    )
    max_grad_norm: PositiveFloat = Field(default=1.0, description="Clip gradients to this global norm.")


class Lora(Settings):
    """LoRA: low-rank adapters on linear layers, trained in place of the weights."""

    rank: PositiveInt = Field(default=16, description="Rank of the adapters.")
    alpha: PositiveFloat = Field(default=32.0, description="Scale: adapter outputs are multiplied by alpha / rank.")
    target: Annotated[Literal["all-linear"] | list[str], BeforeValidator(_targets)] = Field(
        default="all-linear",
        description="all-linear (all linear layers but the head), or a list of parts and layer-name suffixes.",
    )
    save: Literal["adapter", "merged"] = Field(
        default="adapter", description="What checkpoints hold: adapter (in peft's format), or merged (the whole model)."
    )


class Train(Settings):
    """The training loop: steps, batch sizes, memory, checkpoints."""

    steps: PositiveInt = Field(default=100, description="Training steps: a rollout and its updates each.")
    minibatches: PositiveInt = Field(default=1, description="Optimizer steps per pass over a rollout.")
    epochs: PositiveInt = Field(default=1, description="Passes over each rollout.")
    max_tokens_per_batch: PositiveInt = Field(
        default=32768,
        description="Micro-batch size: positions of prompts and completions in one forward and backward pass; lower it "
        "if memory runs out.",
    )
    activation_checkpointing: bool = Field(
        default=False, description="Recompute each layer's activations in the backward pass, to save memory."
    )
    cache_features_mb: NonNegativeInt = Field(
        default=0, description="Cache for the audio features of a frozen encoder, in MiB; 0 for none."
    )
    router_aux_loss_coef: NonNegativeFloat = Field(
        default=0.0, description="Weight of the load-balancing loss of mixture-of-experts models."
    )
    save_every: Annotated[int, AfterValidator(_save_every)] = Field(
        default=50, description="Steps between checkpoints; -1 to save at the end only."
    )
    keep_checkpoints: PositiveInt = Field(default=3, description="Number of most recent checkpoints to keep.")
    keep_best: bool = Field(
        default=True, description="Also keep the best evaluation's checkpoint, saving one if needed."
    )
    log_rollouts_every: PositiveInt = Field(default=1, description="Steps between rollout files.")
    audio_copies: NonNegativeInt = Field(default=64, description="Maximum number of clips copied into the run folder.")
