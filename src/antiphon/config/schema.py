"""What a recipe may say: every key, its type, its default and what it does."""

from __future__ import annotations

import re
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
    model_validator,
)

from antiphon.config import yaml
from antiphon.config.settings import Name, Settings
from antiphon.config.teacher import TeacherConfig
from antiphon.types import Device, DType

Fraction = Annotated[float, Field(ge=0, le=1)]


def _algorithm(value: Any) -> Any:
    if isinstance(value, str) and value:
        return {"name": value}
    listed = value if isinstance(value, list) else [value]
    if listed and all(isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"] for one in listed):
        return value
    raise ValueError(
        "must be an algorithm's name, or a mapping with its name: {name: grpo, ...}, or a list of those to sum"
    )


def _engine(value: Any) -> Any:
    if isinstance(value, str) and value:
        return {"name": value}
    if isinstance(value, dict) and isinstance(value.get("name"), str) and value["name"]:
        return value
    raise ValueError("must be an engine's name, or a mapping with its name: {name: in_process, ...}")


def _track(value: Any) -> Any:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    named = [{"name": one} if isinstance(one, str) else one for one in listed]
    if not all(isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"] for one in named):
        raise ValueError(
            "must be a tracker such as tensorboard or file.py:name, a mapping with its name, or a list of those"
        )
    return named


def _reward(value: Any) -> Any:
    rewards = value if isinstance(value, list) else [value]
    if not rewards or not all(isinstance(one, str | dict) and one for one in rewards):
        raise ValueError(
            "must be a reward such as wer or file.py:function, a mapping with its name, or a list of those"
        )
    return value


def _names(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


def _block_tokens(value: Any) -> Any:
    is_ids = isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)
    if value != "special" and not is_ids:
        raise ValueError("must be 'special' or a list of token ids, such as [] to block none")
    return value


def _save_every(value: int) -> int:
    if value == 0 or value < -1:
        raise ValueError(f"must be a number of steps, or -1 to save at the end alone, got {value}")
    return value


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(f"must be letters, digits, dots, dashes and underscores, got {value!r}")
    return value


class RewardLimits(Settings):
    """How rewards are called, and what becomes of a sample for which one fails."""

    concurrency: PositiveInt = Field(default=64, description="Calls of an async reward in flight at a time.")
    timeout_s: PositiveFloat | None = Field(
        default=120.0, description="Seconds an async call may take before it has failed; null for any time."
    )
    retries: NonNegativeInt = Field(default=0, description="Further tries of a call that raises or takes too long.")
    on_failure: Literal["error", "drop"] = Field(
        default="error", description="A failed reward stops the run, or its sample is counted and not learnt from."
    )


def _teachers(value: Any) -> Any:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    return [{"model": one} if isinstance(one, str) else one for one in listed]


def _trainable(dtype: DType) -> DType:
    if dtype == "float16":
        raise ValueError(
            "'float16' would round small gradients to 0, as the loss is not scaled: train in bfloat16 or float32 "
            "(float16 is for transcribe, eval, compare and serve, and for a teacher)"
        )
    return dtype


class Data(Settings):
    """What is learnt from and what is measured."""

    train: Annotated[list[Name], BeforeValidator(_names)] = Field(
        default=[], description="Training sets to mix, one or a list: JSONL files or built-in sets' names."
    )
    limit: PositiveInt | None = Field(default=None, description="Rows used of each training set; all by default.")
    eval: Annotated[list[Name], BeforeValidator(_names)] = Field(
        default=[], description="Evaluation sets, one or a list: JSONL files or built-in sets' names."
    )
    format: Name | None = Field(
        default=None,
        description="Reader of sets: jsonl, or your own, file.py:name; by default the one that claims a set.",
    )
    columns: dict[Name, Name] = Field(
        default={}, description="Names of the file's columns where they differ: {audio: wav, text: txt}."
    )
    on_bad_audio: Literal["error", "skip"] = Field(
        default="error",
        description="A clip that cannot be used stops the run at its start, or is counted and left out.",
    )
    max_seconds: PositiveFloat = Field(default=30.0, description="Longer clips are bad audio; none is ever cut.")
    min_seconds: NonNegativeFloat = Field(default=0.1, description="Shorter clips are bad audio.")

    @model_validator(mode="after")
    def _lengths(self) -> Data:
        if self.min_seconds >= self.max_seconds:
            raise ValueError(f"must have min_seconds below max_seconds, got {self.min_seconds} and {self.max_seconds}")
        return self


class Labels(Settings):
    """Transcripts that a model makes of the training audio, in place of the data's own."""

    model: Name = Field(description="The model that transcribes the training set, as for the recipe's `model`.")
    min_confidence: Fraction = Field(
        default=0.0, description="Least mean probability of a transcript's tokens for it to be learnt from."
    )


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


def _targets(value: Any) -> Any:
    if value == "all-linear":
        return value
    names = _names(value)
    if not names or not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be all-linear, or names of parts or layers: [language_model], [q_proj, v_proj]")
    return names


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
    minibatches: PositiveInt = Field(default=1, description="Optimiser steps in one pass over a rollout.")
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


class Eval(Settings):
    """When to measure, and on how much."""

    every: NonNegativeInt = Field(default=0, description="Steps between evaluations during training; 0 for none.")
    limit: PositiveInt | None = Field(default=None, description="Examples used of each set; all by default.")
    before: bool = Field(default=True, description="Evaluate before the first step.")
    after: bool = Field(default=True, description="Evaluate after the last step.")
    batch_size: PositiveInt = Field(default=64, description="Clips transcribed side by side.")
    beam: PositiveInt | None = Field(default=None, description="Width of a beam search, for CTC models; else greedy.")
    group_by: Name | None = Field(
        default=None, description="Measure by group too: by speaker, language or any column of the rows."
    )
    best: Name | None = Field(
        default=None, description="What the best step is best by: MEASURE (mean over the sets) or SET/MEASURE."
    )
    patience: PositiveInt | None = Field(
        default=None, description="Stop after this many evaluations in a row without a new best; never by default."
    )


class Gate(Settings):
    """The parity gate: engine against trainer, and whether the model hears."""

    enabled: bool = Field(default=True, description="Check before training, and stop the run where it fails.")
    every: NonNegativeInt = Field(default=0, description="Steps between checks during training; 0 for none.")
    prompts: PositiveInt = Field(default=4, description="Prompts of the training set it uses.")


class Guard(Settings):
    """The regression guard: is any group worse than before training, whatever the mean?"""

    action: Literal["off", "warn", "stop"] = Field(
        default="warn", description="What to do when a group of eval.group_by, or a set, is significantly worse."
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="Chance of a false alarm, over all groups and all evaluations of the run."
    )
    min_utterances: PositiveInt = Field(default=10, description="Smaller groups are not judged.")


class Config(Settings):
    """One recipe, complete: what `config.yaml` of a run folder holds."""

    model: Name = Field(default="builtin:student", description="Path, hub id, RUN, RUN@STEP or builtin:NAME.")
    task: Name = Field(default="asr", description="How an example becomes a prompt, and an answer is read.")
    algorithm: Annotated[dict[str, Any] | list[dict[str, Any]], BeforeValidator(_algorithm)] = Field(
        default={"name": "grpo"},
        description="An algorithm's name, a mapping of its name and settings, or a list of those to sum.",
    )
    reward: Annotated[str | dict[str, Any] | list[str | dict[str, Any]], BeforeValidator(_reward)] = Field(
        default="wer",
        description="A built-in reward, or file.py:function; a mapping with settings; a list.",
    )
    reward_limits: RewardLimits = RewardLimits()
    teacher: Annotated[list[TeacherConfig], BeforeValidator(_teachers)] = Field(
        default=[], description="The model that distillation learns from, as for `model`, or a mapping, or a list."
    )
    freeze: Annotated[list[Name], BeforeValidator(_names)] = Field(
        default=[], description="Parts of the model that are not trained, such as [audio_encoder]."
    )
    lora: Lora | None = Field(default=None, description="Train LoRA adapters in place of the weights; {} for defaults.")
    data: Data = Data()
    labels: Labels | None = Field(
        default=None, description="Learn from what a model hears in the training audio, not from the data's texts."
    )
    rollout: Rollout = Rollout()
    optimizer: Optimizer = Optimizer()
    train: Train = Train()
    eval: Eval = Eval()
    gate: Gate = Gate()
    guard: Guard = Guard()
    track: Annotated[list[dict[str, Any]], BeforeValidator(_track)] = Field(
        default=[], description="Trackers to log to: one or a list of names, or of mappings of a name and settings."
    )
    language: Name = Field(default="auto", description="auto, given (each example's own) or a language for every clip.")
    context: str = Field(default="", description="Text before the audio: hot words, domain, style.")
    seed: NonNegativeInt = Field(default=0, description="All randomness derives from it.")
    trust_remote_code: bool = Field(
        default=False, description="Run Python code that comes with the model's weights; only if you trust its author."
    )
    device: Device = Field(default="auto", description="auto takes a GPU where there is one.")
    dtype: Annotated[DType, AfterValidator(_trainable)] = Field(
        default="auto", description="Type of the computation: float32, bfloat16 or auto."
    )
    threads: PositiveInt | None = Field(
        default=None,
        description="CPU threads of a process; by default PyTorch's own choice, or each rank's share of the cores.",
    )
    output: Name = Field(default="runs", description="Folder that holds the run folders.")
    name: Annotated[str, AfterValidator(_folder_name)] | None = Field(
        None, description="End of the run's id; algorithm and model by default."
    )

    @model_validator(mode="after")
    def _evaluations(self) -> Config:
        during = self.eval.every and self.data.eval
        if self.eval.patience and not during:
            raise ValueError("'eval.patience' needs evaluations during training: set 'eval.every' and 'data.eval'")
        if self.guard.action == "stop" and not (self.eval.before and (during or (self.eval.after and self.data.eval))):
            raise ValueError(
                "'guard.action: stop' compares evaluations with the one before training: "
                "set 'data.eval', 'eval.before: true', and 'eval.every' or 'eval.after: true'"
            )
        return self

    @model_validator(mode="after")
    def _portions(self) -> Config:
        prompts, rollout = self.rollout.prompts_per_step, self.rollout
        if prompts and self.train.minibatches > prompts:
            raise ValueError(
                f"'train.minibatches' must be at most 'rollout.prompts_per_step', "
                f"got {self.train.minibatches} and {prompts}"
            )
        if rollout.temperature == 0 and rollout.group_size != 1:
            raise ValueError(
                f"'rollout.temperature' 0 gives one answer a prompt, so 'rollout.group_size' must be 1, "
                f"got {rollout.group_size or 'none'}"
            )
        return self

    @property
    def algorithm_name(self) -> str:
        """The algorithm's name, or the names of those that are summed: `grpo+opd`."""
        listed = self.algorithm if isinstance(self.algorithm, list) else [self.algorithm]
        return "+".join(one["name"] for one in listed)

    def to_yaml(self) -> str:
        """The recipe in full, defaults included; `load_config` reads it back equal."""
        return yaml.dump(self.model_dump(mode="json"))
