"""Recipe settings: data sets and pseudo-labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from antiphon.config.augment import Augment
from antiphon.config.settings import Fraction, Name, Settings, listed
from antiphon.types import LongAudio


class Data(Settings):
    """Training and evaluation sets."""

    train: Annotated[list[Name], BeforeValidator(listed)] = Field(
        default=[], description="Training sets to mix, one or a list: JSONL files or built-in sets' names."
    )
    limit: PositiveInt | None = Field(
        default=None, description="Use the first rows only of each training set; default: all."
    )
    eval: Annotated[list[Name], BeforeValidator(listed)] = Field(
        default=[], description="Evaluation sets, one or a list: JSONL files or built-in sets' names."
    )
    format: Name | None = Field(
        default=None,
        description="Form of the sets: jsonl, csv, kaldi …, or a reader of yours, file.py:name; default: found.",
    )
    columns: dict[Name, Name] = Field(
        default={}, description="Map of our field names to the file's column names: {audio: wav, text: txt}."
    )
    channel: NonNegativeInt | Literal["mix", "split"] | None = Field(
        default=None,
        description="Channel to hear, from 0; mix averages all, split makes a row of each; default: the row's own "
        "`channel`, else mix.",
    )
    end_slack_seconds: NonNegativeFloat = Field(
        default=0.5, description="A segment may end this long after its file, where it is cut; beyond, it is bad audio."
    )
    augment: Augment | None = Field(
        default=None, description="What is done to training audio before the policy hears it, such as {noise: {}}."
    )
    on_bad_audio: Literal["error", "skip"] = Field(
        default="error",
        description="On an unusable clip, stop before training (error), or count and skip it (skip).",
    )
    long_audio: LongAudio = Field(
        default="error",
        description="On a clip longer than the model hears: treat it as bad audio (error), count and skip it (skip), "
        "or in evaluation answer it in pieces (split).",
    )
    max_seconds: PositiveFloat = Field(default=30.0, description="Longer clips are bad audio; clips are never cut.")
    min_seconds: NonNegativeFloat = Field(default=0.1, description="Shorter clips are bad audio.")

    @model_validator(mode="after")
    def _lengths(self) -> Data:
        if self.min_seconds >= self.max_seconds:
            raise ValueError(f"must have min_seconds below max_seconds, got {self.min_seconds} and {self.max_seconds}")
        return self


class Labels(Settings):
    """Pseudo-labels: transcripts of the training audio by another model, in place of the data's own texts."""

    model: Name = Field(description="Model that transcribes the training set, written like the recipe's `model`.")
    min_confidence: Fraction = Field(
        default=0.0, description="Discard transcripts with a lower mean token probability."
    )
