"""The summary of a set: the figures of its task with their interval, and what every task's evaluation has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.errors import DataError
from antiphon.evaluate.bootstrap import bootstrap_ci, resampled_in_blocks
from antiphon.tasks.load import built_in_tasks
from antiphon.tasks.summary import written
from antiphon.tasks.task import Answered, Clean, Row, Task, row_errors, row_units, words_of


def measure(task: Task, answered: Answered, clean: Clean) -> Row:
    """A row of an evaluation's table: what `task` measures, between what was asked and said and who spoke."""
    example = answered.example
    return {
        "id": example.id,
        "ref_text": example.text,
        "pred_text": words_of(answered.content),
        **task.measure(answered, clean),
        "seconds": answered.seconds,
        "speaker": example.speaker,
        "language": answered.language,
        "rules": clean(answered.language).rules,
        "task": task.name,
        "truncated": answered.truncated,
    }


def summarize(
    rows: Sequence[Mapping[str, Any]], task: Task, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The figures of a set, ready for JSON. Rates are fractions.

    Those of the task (`Task.figures`), its main one first, with `ci` [low, high] of that one and `ci_unit` ("speaker"
    or "utterance": what was resampled, see `bootstrap_ci`); the counts `n`, `empty_outputs` (nothing said though the
    reference has words) and `truncated_outputs`; `empty_share`, of the rows whose reference has words, and
    `truncated_share`, of all, which are None where nobody says what was cut; `seconds` of audio.

    `ci` is None where the main figure is, and for a single row. Raises `DataError` when there is no row.
    """
    if not rows:
        raise DataError("there are no utterances to score: the evaluation set is empty; give it at least one row")
    speakers = [row["speaker"] for row in rows]
    ends = bootstrap_ci([*map(row_errors, rows)], [*map(row_units, rows)], speakers, level, resamples, seed)
    interval = None if ends is None else sorted(map(task.value, ends))
    main = task.columns[0].key
    figures = task.figures(rows)
    return {
        main: figures[main],
        "ci": interval,
        **figures,
        "ci_unit": "speaker" if resampled_in_blocks(speakers) else "utterance",
        "n": len(rows),
        **_missing(rows),
        "seconds": sum(row["seconds"] for row in rows),
        **({} if task in built_in_tasks() else {"columns": written(task.columns)}),
    }


def _missing(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Answers that are empty, where rows have words, and that were cut off."""
    spoken = [row for row in rows if row.get("ref_clean")]
    empty, cut = sum(not row["pred_clean"] for row in spoken), [row["truncated"] for row in rows]
    truncated = None if None in cut else sum(map(bool, cut))
    worded = {"empty_outputs": empty, "empty_share": empty / len(spoken) if spoken else None}
    return {
        **(worded if "ref_clean" in rows[0] else {}),
        "truncated_outputs": truncated,
        "truncated_share": None if truncated is None else truncated / len(rows),
    }
