"""The utterances of a set by group: by speaker, by language, or by any column of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.errors import ConfigError, did_you_mean
from antiphon.evaluate.metrics import summarize
from antiphon.evaluate.rewarded import reward_figures
from antiphon.tasks.task import Row, Task
from antiphon.types import Example

UNNAMED = "(none)"
"""The group of rows that do not have the column."""


def group_names(examples: Sequence[Example], column: str, set_name: str) -> dict[str, str]:
    """Each example's group by its id: the value of `column`, as text.

    Raises `ConfigError` naming the columns there are, when no row of the set has this one.
    """
    values = {example.id: _columns(example).get(column) for example in examples}
    if all(value is None for value in values.values()):
        there = sorted({name for one in examples for name, value in _columns(one).items() if value is not None})
        hint = did_you_mean(column, there)
        raise ConfigError(f"no row of {set_name} has the column {column!r} to group by; {hint}")
    return {id: UNNAMED if value is None else str(value) for id, value in values.items()}


def by_group(task: Task, rows: Sequence[Row], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The summary (`antiphon.evaluate.metrics.summarize`) of each group, in alphabetical order.

    `names` gives each row's group by its id. Rewarded rows have the figures of their rewards too.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(names[row["id"]], []).append(row)
    return {name: _figures(task, groups[name]) for name in sorted(groups)}


def _figures(task: Task, rows: Sequence[Row]) -> dict[str, Any]:
    return summarize(rows, task) | (reward_figures(rows) if "reward_failed" in rows[0] else {})


def _columns(example: Example) -> dict[str, Any]:
    return {**example.columns, "speaker": example.speaker, "language": example.language}


def grouped(
    task: Task, summary: dict[str, Any], rows: list[Row], names: Mapping[str, str] | None
) -> tuple[dict[str, Any], list[Row]]:
    """What is saved of an evaluation: summary and rows, with `groups` and `group` in them where there are `names`."""
    if names is None:
        return summary, rows
    groups = by_group(task, rows, names)
    if "measure" in summary:
        groups = {name: one | {"measure": summary["measure"]} for name, one in groups.items()}
    return summary | {"groups": groups}, [row | {"group": names[row["id"]]} for row in rows]
