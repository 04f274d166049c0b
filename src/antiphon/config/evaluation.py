"""What a recipe may say of evaluation and of what may stop a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from antiphon.config.settings import Name, Settings


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
