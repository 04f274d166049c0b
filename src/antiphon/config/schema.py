"""The recipe's schema: every key with its type, default and description."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from antiphon.config import yaml
from antiphon.config.data import Data, Labels
from antiphon.config.evaluation import Eval, Gate, Guard
from antiphon.config.rollout import RewardLimits, Rollout
from antiphon.config.settings import Name, Settings, listed
from antiphon.config.teacher import TeacherConfig
from antiphon.config.training import Lora, Optimizer, Train
from antiphon.types import Device, DType


def _algorithm(value: Any) -> Any:
    if isinstance(value, str) and value:
        return {"name": value}
    listed = value if isinstance(value, list) else [value]
    if listed and all(isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"] for one in listed):
        return value
    raise ValueError(
        "must be an algorithm's name, or a mapping with its name: {name: grpo, ...}, or a list of those to sum"
    )


def _track(value: Any) -> Any:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    named = [{"name": one} if isinstance(one, str) else one for one in listed]
    if not all(isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"] for one in named):
        raise ValueError(
            "must be a tracker such as tensorboard or file.py:name, a mapping with its name, or a list of those"
        )
    return named


def _reward(value: Any) -> Any:
    if value is None:
        return None
    rewards = value if isinstance(value, list) else [value]
    if not rewards or not all(isinstance(one, str | dict) and one for one in rewards):
        raise ValueError(
            "must be a reward such as wer or file.py:function, a mapping with its name, or a list of those"
        )
    return value


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(f"must be letters, digits, dots, dashes and underscores, got {value!r}")
    return value


def _teachers(value: Any) -> Any:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    return [{"model": one} if isinstance(one, str) else one for one in listed]


def _trainable(dtype: DType) -> DType:
    if dtype == "float16":
        raise ValueError(
            "'float16' would round small gradients to 0, as there is no loss scaling; train in bfloat16 or float32 "
            "(float16 is for transcribe, eval, compare and serve, and for a teacher)"
        )
    return dtype


class Config(Settings):
    """A complete recipe, as stored in a run folder's `config.yaml`."""

    model: Name = Field(
        default="builtin:student", description="Model to train: a path, hub id, RUN, RUN@STEP or builtin:NAME."
    )
    task: Name = Field(default="asr", description="Task: makes prompts of examples, and reads and measures answers.")
    algorithm: Annotated[dict[str, Any] | list[dict[str, Any]], BeforeValidator(_algorithm)] = Field(
        default={"name": "grpo"},
        description="Algorithm: a name, a mapping of its name and settings, or a list of those to sum the losses of.",
    )
    reward: Annotated[str | dict[str, Any] | list[str | dict[str, Any]] | None, BeforeValidator(_reward)] = Field(
        default=None,
        description="Reward: a built-in name or file.py:function, a mapping with settings, or a list of those to sum; "
        "default: the task's.",
    )
    reward_limits: RewardLimits = RewardLimits()
    teacher: Annotated[list[TeacherConfig], BeforeValidator(_teachers)] = Field(
        default=[], description="Teacher for distillation: written like `model`, a mapping, or a list of those."
    )
    freeze: Annotated[list[Name], BeforeValidator(listed)] = Field(
        default=[], description="Parts of the model to freeze, such as [audio_encoder]."
    )
    lora: Lora | None = Field(default=None, description="Train LoRA adapters, not the full weights; {} for defaults.")
    data: Data = Data()
    labels: Labels | None = Field(
        default=None, description="Train on another model's transcripts of the training audio, not the data's texts."
    )
    rollout: Rollout = Rollout()
    optimizer: Optimizer = Optimizer()
    train: Train = Train()
    eval: Eval = Eval()
    gate: Gate = Gate()
    guard: Guard = Guard()
    track: Annotated[list[dict[str, Any]], BeforeValidator(_track)] = Field(
        default=[], description="Trackers to log to: a name, a mapping of a name and settings, or a list of those."
    )
    language: Name = Field(
        default="auto", description="auto (detect), given (each example's own) or one language for all clips."
    )
    context: str = Field(default="", description="Text before the audio: hotwords, domain, style.")
    seed: NonNegativeInt = Field(default=0, description="Seed of all randomness.")
    trust_remote_code: bool = Field(
        default=False, description="Run the Python code in the model's repository; only if you trust its author."
    )
    device: Device = Field(default="auto", description="auto uses a GPU if there is one.")
    dtype: Annotated[DType, AfterValidator(_trainable)] = Field(
        default="auto", description="Data type of the forward and backward passes: float32, bfloat16 or auto."
    )
    threads: PositiveInt | None = Field(
        default=None,
        description="CPU threads per process; default: PyTorch's choice, or each rank's share of the cores.",
    )
    output: Name = Field(default="runs", description="Parent folder of the run folders.")
    name: Annotated[str, AfterValidator(_folder_name)] | None = Field(
        None, description="Suffix of the run id; default: algorithm and model."
    )

    @model_validator(mode="after")
    def _evaluations(self) -> Config:
        during = self.eval.every and self.data.evaluates
        if self.eval.patience and not during:
            raise ValueError("'eval.patience' needs evaluations during training: set 'eval.every' and 'data.eval'")
        if self.guard.action == "stop" and not (
            self.eval.before and (during or (self.eval.after and self.data.evaluates))
        ):
            raise ValueError(
                "'guard.action: stop' compares evaluations with the one before training; "
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
                f"'rollout.temperature' 0 gives one completion per prompt, so 'rollout.group_size' must be 1, "
                f"got {rollout.group_size or 'none'}"
            )
        if rollout.temperature == 0 and self.eval.samples_per_prompt > 1:
            raise ValueError(
                "'rollout.temperature' 0 gives one completion per prompt, so 'eval.samples_per_prompt' must be at most "
                f"1, got {self.eval.samples_per_prompt}"
            )
        return self

    @property
    def algorithm_name(self) -> str:
        """The algorithm's name; for a sum, all names: `grpo+opd`."""
        listed = self.algorithm if isinstance(self.algorithm, list) else [self.algorithm]
        return "+".join(one["name"] for one in listed)

    def to_yaml(self) -> str:
        """The full recipe, defaults included; `load_config` reads back an equal one."""
        return yaml.dump(self.model_dump(mode="json"))
