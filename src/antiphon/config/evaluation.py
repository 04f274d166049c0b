"""Recipe settings: evaluation, and the checks that can stop a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from antiphon.config.settings import Name, Settings


class Eval(Settings):
    """Evaluation during training: when, and on how many examples."""

    every: NonNegativeInt = Field(default=0, description="Steps between evaluations during training; 0 for none.")
    limit: PositiveInt | None = Field(
        default=None, description="Use the first examples only of each set; default: all."
    )
    before: bool = Field(default=True, description="Evaluate before the first step.")
    after: bool = Field(default=True, description="Evaluate after the last step.")
    batch_size: PositiveInt = Field(default=64, description="Batch size, in clips.")
    samples_per_prompt: NonNegativeInt = Field(
        default=1,
        description="Answers to reward per prompt: 1 for the greedy answer, more are sampled, 0 for no rewards.",
    )
    beam: PositiveInt | None = Field(default=None, description="Beam width, for CTC models; default: greedy.")
    group_by: Name | None = Field(
        default=None, description="Also report metrics per group: speaker, language or any other column."
    )
    best: Name | None = Field(
        default=None, description="Metric that selects the best step: MEASURE (mean over the sets) or SET/MEASURE."
    )
    patience: PositiveInt | None = Field(
        default=None, description="Early stopping: evaluations in a row without a new best; default: never stop."
    )


class Gate(Settings):
    """The parity gate: engine and trainer must agree on log-probabilities, and the audio must change them."""

    enabled: bool = Field(default=True, description="Check before training, and stop the run if it fails.")
    every: NonNegativeInt = Field(default=0, description="Steps between checks during training; 0 for none.")
    prompts: PositiveInt = Field(default=4, description="Number of training prompts to check.")


class Guard(Settings):
    """The regression guard: tests whether any group got worse than before training, even if the mean improved."""

    action: Literal["off", "warn", "stop"] = Field(
        default="warn", description="What to do if a set, or a group of eval.group_by, is significantly worse."
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="Probability of a false alarm, over all groups and all evaluations of the run."
    )
    min_utterances: PositiveInt = Field(default=10, description="Smaller groups are not tested.")
