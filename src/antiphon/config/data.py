"""What a recipe may say of its data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from antiphon.config.settings import Fraction, Name, Settings, listed


class Data(Settings):
    """What is learned from and what is measured."""

    train: Annotated[list[Name], BeforeValidator(listed)] = Field(
        default=[], description="Training sets to mix, one or a list: JSONL files or built-in sets' names."
    )
    limit: PositiveInt | None = Field(default=None, description="Rows used of each training set; all by default.")
    eval: Annotated[list[Name], BeforeValidator(listed)] = Field(
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
        default=0.0, description="Least mean probability of a transcript's tokens for it to be learned from."
    )
