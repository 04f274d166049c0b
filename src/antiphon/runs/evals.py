"""Evaluations of a run: `evals/step-NNNNNN-SET/`, with a summary and a row per example."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.errors import RunError
from antiphon.runs import atomic
from antiphon.runs.checkpoints import step_name, step_of


def eval_name(set_name: str, step: int) -> str:
    """The evaluation's folder name, `step-000050-noisy`, with the set's `safe_name`."""
    return f"{step_name(step)}-{safe_name(set_name)}"


def safe_name(name: str) -> str:
    """`name` with unsafe characters percent-encoded."""
    return re.sub(r"[^\w.-]", lambda odd: quote(odd[0], safe=""), name)


def step_of_eval(name: str) -> int | None:
    """The step of a folder named by `eval_name`, else None."""
    return step_of("-".join(name.split("-")[:2]))


def save_eval(
    folder: Path, set_name: str, step: int, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Path:
    """Save an evaluation, replacing one of the same set and step, and return its folder.

    `summary.json` is `summary` with `set` and `step` added; `rows.parquet` keeps the order of `rows`.
    """
    final = folder / eval_name(set_name, step)
    with atomic.atomic_dir(final) as aside:
        atomic.write_json(aside / "summary.json", {"set": set_name, "step": step, **summary})
        with atomic.naming(final):
            pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), aside / "rows.parquet")
    return final


def read_evals(folder: Path) -> list[dict[str, Any]]:
    """All summaries, by step and then by set. Raises `RunError` if one is damaged."""
    summaries = [_read(path) for path in folder.glob("[!.]*/summary.json")]
    return sorted(summaries, key=lambda summary: (summary["step"], summary["set"]))


def read_rows(folder: Path, set_name: str, step: int) -> list[dict[str, Any]]:
    """The rows of one evaluation, in saved order. Raises `RunError` if it does not exist."""
    path = folder / eval_name(set_name, step) / "rows.parquet"
    try:
        return pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"cannot read {path}: {error}; evaluate this set again") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_bytes())
        return {"set": summary["set"], "step": summary["step"], **summary}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"cannot read {path}: {error!r}; remove its folder and evaluate again") from error
