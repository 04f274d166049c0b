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
from antiphon.errors import did_you_mean
from antiphon.types import LongAudio


class Filter(Settings):
    """Rows of the training sets to leave out. Rules of time apply to rows with audio."""

    min_seconds: NonNegativeFloat | None = Field(default=None, description="Leave out shorter clips.")
    max_seconds: PositiveFloat | None = Field(default=None, description="Leave out longer clips.")
    min_chars_per_second: NonNegativeFloat | None = Field(
        default=None, description="Leave out texts with fewer characters per second of audio."
    )
    max_chars_per_second: PositiveFloat | None = Field(
        default=None, description="Leave out texts with more characters per second of audio."
    )
    text: bool = Field(default=False, description="Leave out rows without a text.")
    languages: Annotated[list[Name], BeforeValidator(listed)] = Field(
        default=[], description="Keep only rows of these languages, codes or English names."
    )

    @property
    def of_time(self) -> bool:
        """Whether a rule needs to know how long clips are."""
        times = self.min_seconds, self.max_seconds, self.min_chars_per_second, self.max_chars_per_second
        return any(one is not None for one in times)


class Data(Settings):
    """Training and evaluation sets."""

    train: Annotated[list[Name], BeforeValidator(listed)] = Field(
        default=[], description="Training sets to mix, one or a list: JSONL files or built-in sets' names."
    )
    limit: PositiveInt | None = Field(
        default=None, description="Use the first rows only of each training set; default: all."
    )
    weights: dict[Name, PositiveFloat] = Field(
        default={},
        description="How often a row of a training set is seen, compared to rows of others: {a.jsonl: 2}; default: 1.",
    )
    filter: Filter = Field(default=Filter(), description="Rows of the training sets to leave out.")
    deduplicate: Literal["id", "audio", "audio_text"] | None = Field(
        default=None,
        description="Keep the first of the training rows with the same id, the same id or sound (audio), or the same "
        "id or sound with the same text (audio_text); default: all, and the same id twice is an error.",
    )
    holdout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="Share of the training rows, chosen by their ids, that is evaluated as the set `holdout` and never "
        "trained on.",
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

    @property
    def evaluates(self) -> bool:
        """Whether there is something to evaluate."""
        return bool(self.eval or self.holdout)

    @model_validator(mode="after")
    def _weighted(self) -> Data:
        for spec in self.weights:
            if spec not in self.train:
                raise ValueError(f"must name sets of data.train in data.weights; {did_you_mean(spec, self.train)}")
        return self


class Labels(Settings):
    """Pseudo-labels: transcripts of the training audio by another model, in place of the data's own texts."""

    model: Name = Field(description="Model that transcribes the training set, written like the recipe's `model`.")
    min_confidence: Fraction = Field(
        default=0.0, description="Discard transcripts with a lower mean token probability."
    )
