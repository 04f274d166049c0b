"""Audio classification: label a clip. The label is the example's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from antiphon.tasks import asr
from antiphon.tasks.columns import Column
from antiphon.tasks.labels import label_measures
from antiphon.tasks.request import asked
from antiphon.tasks.task import Answered, Clean, Row, Task
from antiphon.tasks.words import count_words, total
from antiphon.types import Example, Hertz, Prompt

INSTRUCTION = "Classify the audio. Respond with only the label."
ACCURACY = Column("accuracy", "accuracy", lower_is_better=False)


class Classification(Task):
    """Measured by accuracy and macro F1."""

    name = "classify"
    columns = (ACCURACY, Column("macro_f1", "macro F1", lower_is_better=False))

    def prompt(
        self, example: Example, waveform: np.ndarray | None, rate: Hertz, language: str = "auto", context: str = ""
    ) -> Prompt:
        """A generative model takes its list of labels from `context`, or the row's own; a classifier has its own.

        Raises `DataError` if `language` is "given" and the example has none.
        """
        plain = asr.task.plain(example, waveform, rate, language, context)
        return asked(replace(plain, instruction=INSTRUCTION, transcribe=False), example)

    def measure(self, answered: Answered, clean: Clean) -> Row:
        return count_words(self, answered, clean)

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`accuracy`, the share of answers that equal their reference once both are normalized, `errors`, and
        `macro_f1` and `confusion` (see `antiphon.tasks.labels`)."""
        labels = label_measures([row["ref_clean"] for row in rows], [row["pred_clean"] for row in rows])
        return accuracy(rows) | labels


def accuracy(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracy, and the number of wrong answers."""
    errors = total(rows, "wer_errors")
    return {"accuracy": 1 - errors / len(rows), "errors": errors}


task = Classification()
