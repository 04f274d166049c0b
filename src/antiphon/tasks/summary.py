"""The columns of an evaluation summary, for any task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from antiphon.tasks.columns import REWARDED, SHARES, Column
from antiphon.tasks.load import built_in_tasks

Summary = Mapping[str, Any]
COUNTS = ("edits", "errors", "insertions", "empty_outputs", "truncated_outputs", "reward_failed")
"""Figures that no table shows; lower is better."""


def columns_of(summary: Summary) -> list[Column]:
    """The columns in a summary, those of its task first.

    Tasks outside the package store their columns in the summary, so that a run folder can be read without them.
    """
    own = [_read(one) for one in summary.get("columns") or ()] or _built_in(summary)
    return [one for one in (*own, *SHARES, *REWARDED) if one.key in summary]


def main_column(*summaries: Summary) -> Column:
    """The main measure of sets, and of a run unless another is set."""
    for summary in summaries:
        columns = columns_of(summary)
        named = [one for one in columns if one.key == summary.get("measure")]
        if named or columns:
            return (named or columns)[0]
    return built_in_tasks()[0].columns[0]


def column_named(key: str) -> Column:
    """The column for a key. For keys of tasks outside the package, a column that shows plain numbers."""
    known = [*REWARDED, *SHARES, *(one for task in built_in_tasks() for one in task.columns)]
    return next((one for one in known if one.key == key), Column(key, key, form="{:.4g}"))


def interval(summary: Summary, column: Column) -> Sequence[float] | None:
    """The 95% interval of a figure, if it has one."""
    if column.key in (one.key for one in REWARDED):
        return summary.get(f"{column.key}_ci")
    first = next(iter(columns_of(summary)), None)
    return summary.get("ci") if first == column else None


def lower_is_better(summaries: Iterable[Summary], key: str) -> bool:
    """Whether lower is better. For figures without a column, higher is."""
    known = {one.key: one.lower_is_better for summary in summaries for one in columns_of(summary)}
    return known.get(key, key in COUNTS)


def written(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Columns in the form stored in a summary."""
    return [asdict(one) for one in columns]


def _read(row: Mapping[str, Any]) -> Column:
    column = Column(**{key: row[key] for key in Column.__dataclass_fields__ if key in row})
    texts, flags = (column.key, column.title, column.short, column.form), (column.lower_is_better, column.optional)
    if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, bool) for one in flags):
        raise ValueError(f"invalid column in the summary: {str(row)[:60]}")
    return column


def _built_in(summary: Summary) -> Sequence[Column]:
    """The columns of the built-in task that fits best: its main figure is in the summary, and most of its others."""
    fitting = [task.columns for task in built_in_tasks() if task.columns[0].key in summary]
    return max(fitting, key=lambda columns: sum(one.key in summary for one in columns), default=())
