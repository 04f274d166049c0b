"""Rows and summaries of evaluations from references and predictions alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.evaluate.metrics import measure, summarize
from antiphon.tasks.load import find_task, task_of_row
from antiphon.tasks.task import Answered, Row
from antiphon.text.normalize import normalizer
from antiphon.types import Example


def measured(
    id: str,
    reference: str,
    prediction: str,
    *,
    seconds: float = 0.0,
    speaker: str | None = None,
    language: str | None = None,
    task: str = "asr",
    truncated: bool | None = False,
) -> Row:
    """The row of one prediction."""
    example = Example(id, task, None, reference, language, speaker)
    return measure(find_task(task), Answered(example, prediction, seconds, language, truncated), normalizer)


def summarized(rows: Sequence[Row]) -> dict[str, Any]:
    """The summary of rows, all of one task."""
    return summarize(rows, task_of_row(rows[0]) if rows else find_task("asr"))
