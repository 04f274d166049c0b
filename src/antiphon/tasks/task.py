"""What a task is: how an example becomes a prompt, what is read of an answer, and by what it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from antiphon.tasks.columns import Column
from antiphon.text.alignment import units
from antiphon.text.normalize import Normalize
from antiphon.text.tags import last_answer
from antiphon.types import Answer, Content, Example, Hertz, Prompt, Seconds, Text

Row = dict[str, Any]
Clean = Callable[[str | None], Normalize]
"""From a language, or None, to the function that makes its texts comparable."""


@dataclass(frozen=True)
class Answered:
    """An example with what was read of the model's answer to it."""

    example: Example
    content: Content
    seconds: Seconds = 0.0
    """Of the audio that was heard."""
    language: str | None = None
    """The example's own, or that which was forced."""
    truncated: bool | None = False
    """Whether the token limit cut the answer off; None where that is not known."""


class Task:
    """The base of all tasks. A task of your own overrides `prompt`, `measure` and `columns`, and `read` if need be."""

    name: str = ""
    fields: tuple[str, ...] = ("audio",)
    """Which fields a row must have, beside its text: audio, prompt, or any column. Without "audio" none is read."""
    reward: str | None = "exact"
    """What its answers are rewarded by where a recipe names nothing; None where a recipe has to."""
    columns: Sequence[Column] = ()
    """What tables show of its summaries; the first is the main figure."""
    by_word: bool = False
    """Whether its references and answers are compared word by word, and not as a whole."""
    transcribes: bool = False
    """Whether a server's transcription endpoint answers it."""

    def prompt(
        self, example: Example, waveform: np.ndarray | None, rate: Hertz, language: str = "auto", context: str = ""
    ) -> Prompt:
        """The request for one example; `waveform` is mono float32 [samples] at `rate`, None where no audio is read.

        `language` is "auto" (the model finds it), "given" (the example's own) or a language for every clip; `context`
        is the system prompt.
        """
        raise NotImplementedError

    def read(self, answer: Answer) -> Content:
        """What of an answer is measured: what stands in its last `<answer>`, else all of it.

        An `<answer>` within `<reasoning>` does not count.
        """
        if not isinstance(answer, Text):
            return answer
        tagged = last_answer(answer.text)
        return answer.text if tagged is None else tagged

    def measure(self, answered: Answered, clean: Clean) -> Row:
        """One row of the evaluation: `errors` and `units`, whose sums make the main figure, and any further columns."""
        raise NotImplementedError

    def value(self, errors: float) -> float:
        """The main figure, from the errors a unit."""
        return errors if self.columns[0].lower_is_better else 1 - errors

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The figures of a set, the main one first; None where it has no unit."""
        units = sum(map(row_units, rows))
        return {self.columns[0].key: self.value(sum(map(row_errors, rows)) / units) if units else None}

    def words(self, text: str) -> list[str]:
        """The parts of a cleaned text that are right or wrong by themselves."""
        return units(text) if self.by_word else [text]

    def measured_by(self, reward: str | None) -> str:
        """The key of the figure by which a run is judged; `reward` is the name of its reward, where it has one."""
        return self.columns[0].key


def row_errors(row: Mapping[str, Any]) -> float:
    """What a row adds to the numerator of its task's main figure."""
    return row["wer_errors"] if "wer_errors" in row else row["errors"]


def row_units(row: Mapping[str, Any]) -> float:
    """What a row adds to the denominator."""
    return row["ref_words"] if "ref_words" in row else row["units"]


def words_of(content: Content) -> str:
    """A content as text: none of one that is audio."""
    return content if isinstance(content, str) else ""


def lowest_reward_first(rows: Sequence[Row]) -> list[Row]:
    """By reward, then id; those without one last."""
    return sorted(rows, key=lambda row: (row["reward"] is None, row["reward"] or 0.0, row["id"]))


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """By errors, then character errors, then id."""
    return sorted(rows, key=lambda row: (-row_errors(row), -row.get("cer_errors", 0), row["id"]))
