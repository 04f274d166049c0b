"""What a summary of an evaluation is measured by, whichever task it is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from antiphon.tasks.columns import REWARDED, SHARES, Column
from antiphon.tasks.load import built_in_tasks

Summary = Mapping[str, Any]
COUNTS = ("edits", "errors", "insertions", "empty_outputs", "truncated_outputs", "reward_failed")
"""Figures that no table shows, of which less is better too."""


def columns_of(summary: Summary) -> list[Column]:
    """The columns that are in a summary, its task's first of all.

    A task outside the package writes its columns into its summaries, so that a run folder can be read without it.
    """
    own = [_read(one) for one in summary.get("columns") or ()] or _built_in(summary)
    return [one for one in (*own, *SHARES, *REWARDED) if one.key in summary]


def main_column(*summaries: Summary) -> Column:
    """What sets are measured by first of all, and a run where nothing else is asked for."""
    for summary in summaries:
        columns = columns_of(summary)
        named = [one for one in columns if one.key == summary.get("measure")]
        if named or columns:
            return (named or columns)[0]
    return built_in_tasks()[0].columns[0]


def column_named(key: str) -> Column:
    """The column of a figure, by its key alone: of a task outside the package, its value as it stands."""
    known = [*REWARDED, *SHARES, *(one for task in built_in_tasks() for one in task.columns)]
    return next((one for one in known if one.key == key), Column(key, key, form="{:.4g}"))


def interval(summary: Summary, column: Column) -> Sequence[float] | None:
    """The 95% interval of a figure, where it has one."""
    if column.key in (one.key for one in REWARDED):
        return summary.get(f"{column.key}_ci")
    first = next(iter(columns_of(summary)), None)
    return summary.get("ci") if first == column else None


def lower_is_better(summaries: Iterable[Summary], key: str) -> bool:
    """Of a figure that is no column, more is better."""
    known = {one.key: one.lower_is_better for summary in summaries for one in columns_of(summary)}
    return known.get(key, key in COUNTS)


def written(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Columns as a summary holds them."""
    return [asdict(one) for one in columns]


def _read(row: Mapping[str, Any]) -> Column:
    column = Column(**{key: row[key] for key in Column.__dataclass_fields__ if key in row})
    texts, flags = (column.key, column.title, column.short, column.form), (column.lower_is_better, column.optional)
    if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, bool) for one in flags):
        raise ValueError(f"a column of its task is {str(row)[:60]}")
    return column


def _built_in(summary: Summary) -> Sequence[Column]:
    """Of the built-in task whose main figure the summary has, the one with the most of its columns."""
    fitting = [task.columns for task in built_in_tasks() if task.columns[0].key in summary]
    return max(fitting, key=lambda columns: sum(one.key in summary for one in columns), default=())
