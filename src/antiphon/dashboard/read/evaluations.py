"""Evaluations with their rows: transcripts measured by errors, and rows scored by a user's function.

They are in `evals/` of a run, or of the folder of all runs for other models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from antiphon.dashboard.read.cache import Cached
from antiphon.dashboard.read.reasons import clean, reason
from antiphon.errors import RunError
from antiphon.tasks.columns import Column
from antiphon.tasks.summary import columns_of, interval, main_column
from antiphon.tasks.task import row_errors

Row = dict[str, Any]
SCORE = Column("score", "mean score", form="{:.3f}", lower_is_better=False)
"""The score of a user's function."""

_TEXTS, _COUNTS = {"id", "ref_clean", "pred_clean", "task"}, {"wer_errors", "cer_errors", "ref_words"}
_NUMBERS = {"row", "score", "seconds", "errors", "units"}
_OPTIONAL_TEXTS = {
    "speaker",
    "group",
    "audio",
    "answer_audio",
    "id",
    "error",
    "prompt",
    "response",
    "reference",
    "metrics",
}


class _Figures(BaseModel):
    """Validates the parts of a summary that pages show."""

    wer: float | None = None
    accuracy: float | None = None
    score: float | None = None
    ci: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    cer: float | None = None
    sub: float | None = None
    del_: float | None = Field(None, alias="del")
    ins: float | None = None
    macro_f1: float | None = None
    empty_share: float | None = None
    truncated_share: float | None = None
    hallucination_rate: float | None = None
    rtfx: float | None = None
    n: int = 0
    failed: int = 0
    metrics: dict[str, float | None] = {}
    groups: dict[str, _Figures] = {}


@dataclass(frozen=True)
class Evaluated:
    """One folder in `evals/`."""

    folder: str
    kind: Literal["recognized", "scored"]
    set: str
    """Name of the set; `SET:FUNCTION` if scored by a function."""
    step: int
    summary: dict[str, Any]
    """`summary.json`, or `scores.json`."""

    @property
    def when(self) -> str:
        """The row title in the table of evaluations: the step, or time and model outside of runs."""
        if self.summary.get("step") is not None:
            return f"{self.step:,}"
        return f"{str(self.summary.get('time'))[:16].replace('T', ' ')} {self.summary.get('served_model_name')}"

    @property
    def column(self) -> Column:
        """Its main metric."""
        return SCORE if self.kind == "scored" else main_column(self.summary)

    @property
    def value(self) -> float | None:
        return self.summary.get(self.column.key)

    @property
    def interval(self) -> Sequence[float] | None:
        return self.summary.get("ci") if self.kind == "scored" else interval(self.summary, self.column)


def list_evaluations(home: Path) -> tuple[list[Evaluated], list[str]]:
    """The evaluations of a run, or of the folder of runs, by step and set; and what could not be read, with reasons."""
    return _listed(home / "evals")


def folder_of(home: Path, name: str) -> Path:
    """The folder `evals/NAME` of a run, or of the folder of runs, and nothing outside it.

    Raises `RunError` if it does not exist.
    """
    if (
        not name
        or name[0] == "."
        or "/" in name
        or "\\" in name
        or "\0" in name
        or not (home / "evals" / name).is_dir()
    ):
        raise RunError(f"{home.name} has no evaluation {name!r}")
    return home / "evals" / name


def read_rows(home: Path, folder: str) -> list[Row]:
    """All rows in file order, each with its index as `place`. Raises `RunError` if the file is damaged."""
    return _rows(folder_of(home, folder) / "rows.parquet")


def _read_list(path: Path) -> tuple[list[Evaluated], list[str]]:
    found, damage = [], []
    for folder in path.glob("[!.]*") if path.is_dir() else []:
        try:
            found.append(_read_one(folder))
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            damage.append(f"evals/{folder.name} cannot be read: {reason(error)}")
    return sorted(found, key=lambda one: (one.step, one.when, one.kind, one.set)), sorted(damage)


def _read_one(folder: Path) -> Evaluated:
    if (folder / "scores.json").is_file():
        summary = json.loads((folder / "scores.json").read_bytes())
        name = f"{summary['set']}:{summary['function']}"
        return _checked(Evaluated(folder.name, "scored", name, int(summary["step"] or 0), summary))
    summary = json.loads((folder / "summary.json").read_bytes())
    return _checked(Evaluated(folder.name, "recognized", str(summary["set"]), int(summary["step"]), summary))


def _checked(one: Evaluated) -> Evaluated:
    """Raises `ValueError` if a value is not a number, or a name cannot be shown."""
    if clean(one.set) != one.set or not 0 <= one.step < 1 << 53:
        raise ValueError("its set or step is invalid")
    try:
        _Figures.model_validate(one.summary, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"its {'.'.join(map(str, first['loc']))} is {str(first['input'])[:40]!r}") from error
    for column in columns_of(one.summary):
        if not isinstance(value := one.summary[column.key], int | float | None):
            raise ValueError(f"its {column.key} is {str(value)[:40]!r}")
    return one


def _read_rows(path: Path) -> list[Row]:
    try:
        table = pq.read_table(path)
        _require_columns(table)
        rows = table.to_pylist()
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise RunError(f"evals/{path.parent.name}/{path.name} cannot be read: {reason(error)}") from error
    return [{"speaker": None, **row, "place": place} for place, row in enumerate(rows)]


def _require_columns(table: pa.Table) -> None:
    """Raises `ValueError` if a required column is missing, or a column has an unsupported type."""
    needed = {"row", "score"} if "score" in table.column_names else _TEXTS | _COUNTS | {"seconds"}
    if "errors" in table.column_names:
        needed = {"id", "task", "ref_text", "pred_text", "errors", "units", "seconds"}
    for name in sorted(needed - set(table.column_names)):
        raise ValueError(f"it has no column {name!r}")
    for field in table.schema:
        is_count = pa.types.is_integer(field.type)
        is_right = is_count if field.name in _COUNTS else pa.types.is_string(field.type)
        if field.name in _NUMBERS:
            is_right = is_count or pa.types.is_floating(field.type)
        is_empty = table[field.name].null_count > 0
        if field.name in needed - {"score"} and (is_empty or not is_right):
            raise ValueError(f"its column {field.name!r} is incomplete or of the type {field.type}")
        if field.name in _OPTIONAL_TEXTS | {"score"} and not (is_right or pa.types.is_null(field.type)):
            raise ValueError(f"its column {field.name!r} is of the type {field.type}")


@dataclass(frozen=True)
class Pair:
    """An utterance in two evaluations of a set."""

    before: Row
    after: Row

    @property
    def change(self) -> float:
        """Errors after minus errors before; negative is better."""
        return row_errors(self.after) - row_errors(self.before)


def paired(before: Sequence[Row], after: Sequence[Row]) -> list[Pair]:
    """The utterances in both evaluations, in the order of `before`."""
    by_id = {row["id"]: row for row in after}
    return [Pair(row, by_id[row["id"]]) for row in before if row["id"] in by_id]


_listed = Cached(_read_list)
_rows = Cached(_read_rows, keep=12)
