"""Evaluations in full: recognised ones, measured in errors, and those scored by a user's function.

They are in `evals/` of a run, or of the folder of all runs where the model was no run's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.dashboard.read.cache import Cached
from antiphon.dashboard.read.reasons import reason
from antiphon.errors import RunError

Row = dict[str, Any]

_RECOGNISED = {"id", "ref_clean", "pred_clean", "wer_errors", "cer_errors", "ref_words", "seconds", "speaker", "task"}
_NUMBERS = {"wer_errors", "cer_errors", "ref_words", "seconds"}
_SCORED = {"row", "score", "error", "prompt", "response", "reference", "metrics"}


@dataclass(frozen=True)
class Evaluated:
    """One folder in `evals/`."""

    folder: str
    kind: Literal["recognised", "scored"]
    set: str
    """Name of the set; of a scored one `SET:FUNCTION`."""
    step: int
    summary: dict[str, Any]
    """`summary.json`, or `scores.json`."""

    @property
    def when(self) -> str:
        """What the table of evaluations calls its line: the step, or time and model where that is no run's."""
        if self.summary.get("step") is not None:
            return f"{self.step:,}"
        return f"{str(self.summary.get('time'))[:16].replace('T', ' ')} {self.summary.get('served_model_name')}"

    @property
    def measure(self) -> str:
        return "score" if self.kind == "scored" else "wer" if "wer" in self.summary else "accuracy"

    @property
    def value(self) -> float | None:
        return self.summary.get(self.measure)


def list_evaluations(home: Path) -> tuple[list[Evaluated], list[str]]:
    """Those of a run, or of the folder of runs, by step and set; and what could not be read, with the reason."""
    return _listed(home / "evals")


def folder_of(home: Path, name: str) -> Path:
    """The folder `evals/NAME` of a run, or of the folder of runs; nothing outside is looked at.

    Raises `RunError` where there is none.
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
    """All rows in the order of the file, each with its place there as `place`. Raises `RunError` for a damaged file."""
    return _rows(folder_of(home, folder) / "rows.parquet")


def _read_list(path: Path) -> tuple[list[Evaluated], list[str]]:
    found, damage = [], []
    for folder in path.glob("[!.]*") if path.is_dir() else []:
        try:
            found.append(_read_one(folder))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            damage.append(f"evals/{folder.name} cannot be read: {reason(error)}")
    return sorted(found, key=lambda one: (one.step, one.when, one.kind, one.set)), sorted(damage)


def _read_one(folder: Path) -> Evaluated:
    if (folder / "scores.json").is_file():
        summary = json.loads((folder / "scores.json").read_bytes())
        name = f"{summary['set']}:{summary['function']}"
        return _checked(Evaluated(folder.name, "scored", name, int(summary["step"] or 0), summary))
    summary = json.loads((folder / "summary.json").read_bytes())
    return _checked(Evaluated(folder.name, "recognised", str(summary["set"]), int(summary["step"]), summary))


def _checked(one: Evaluated) -> Evaluated:
    """Raises `TypeError` where its figures are no numbers."""
    for value in (one.value, *(one.summary.get("ci") or (0, 0))):
        if value is not None and not isinstance(value, int | float):
            raise TypeError(f"its {one.measure} is no number")
    return one


def _read_rows(path: Path) -> list[Row]:
    try:
        table = pq.read_table(path)
        needed = _SCORED if "score" in table.column_names else _RECOGNISED
        for name in sorted(needed - set(table.column_names)):
            raise ValueError(f"it has no column {name!r}")
        for name in sorted(_NUMBERS & set(table.column_names)):
            if table[name].null_count or pa.types.is_string(table[name].type):
                raise ValueError(f"its column {name!r} has other values than numbers")
        rows = table.to_pylist()
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise RunError(f"evals/{path.parent.name}/{path.name} cannot be read: {reason(error)}") from error
    return [{**row, "place": place} for place, row in enumerate(rows)]


@dataclass(frozen=True)
class Pair:
    """One utterance in two evaluations of a set."""

    before: Row
    after: Row

    @property
    def change(self) -> int:
        """Errors after less errors before: negative where it got better."""
        return self.after["wer_errors"] - self.before["wer_errors"]


def paired(before: Sequence[Row], after: Sequence[Row]) -> list[Pair]:
    """The utterances that both have, in the order of `before`."""
    by_id = {row["id"]: row for row in after}
    return [Pair(row, by_id[row["id"]]) for row in before if row["id"] in by_id]


_listed = Cached(_read_list)
_rows = Cached(_read_rows, keep=12)
