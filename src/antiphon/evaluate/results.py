"""The folder of an evaluation: `summary.json`, `SET.parquet` with the rows worst first, `report.html`."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.errors import RunError
from antiphon.runs import atomic
from antiphon.types import Audio

SUMMARY = "summary.json"
REPORT = "report.html"


@dataclass(frozen=True)
class Evaluation:
    """A model's figures and rows by set."""

    model: str
    weights: str | None
    """`antiphon.evaluate.kept.weights_digest`; None for a model behind a URL."""
    sets: dict[str, dict[str, Any]]
    """Summaries (`antiphon.evaluate.metrics.summarize`)."""
    rows: dict[str, list[dict[str, Any]]]
    """`antiphon.evaluate.metrics.measure`, worst first."""


def speed_conditions(summary: Mapping[str, Any]) -> str:
    """What a set's RTFx was measured under, in words."""
    n = summary["concurrency"]
    if summary["device"] == "http":
        return f"{n} requests side by side over HTTP, reading and sending of clips included, precision unknown"
    return f"{n} clips side by side, {summary['precision']} on {summary['device']}"


def normalized_by(summary: Mapping[str, Any]) -> str:
    """The normalizer and, where it has rules by language, those that applied."""
    name, rules = summary["normalizer"], summary.get("rules") or {}
    if set(rules) <= {"none"} or name.startswith(tuple(rules)):
        return name
    return f"{name}, {' and '.join(rules)} rules"


def is_evaluation(folder: Path) -> bool:
    return (folder / SUMMARY).is_file()


def save_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Writes rows and then the summary, each in one step. Raises `RunError` when they cannot be written."""
    for name, rows in evaluation.rows.items():
        atomic.write_bytes(folder / f"{name}.parquet", _parquet(rows))
    atomic.write_json(
        folder / SUMMARY, {"model": evaluation.model, "weights": evaluation.weights, "sets": evaluation.sets}
    )


def read_evaluation(folder: Path) -> Evaluation:
    """What `save_evaluation` wrote. Raises `RunError` when it is damaged."""
    try:
        summary: Mapping[str, Any] = json.loads((folder / SUMMARY).read_bytes())
        rows = {name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in summary["sets"]}
        return Evaluation(summary["model"], summary["weights"], summary["sets"], rows)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"cannot read the evaluation in {folder}: {error!r}; run antiphon eval again") from error


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_without_audio(row) for row in rows]), table)
    return table.getvalue()


def _without_audio(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the file has it: answers that are audio are in the transcripts, and the worst ones in the report."""
    return {key: value for key, value in row.items() if not isinstance(value, Audio)}
