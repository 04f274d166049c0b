"""The folder of an evaluation: `summary.json`, the rows worst first as `SET.parquet` or `SET.jsonl`, `report.html`."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.errors import RunError
from antiphon.runs import atomic, lines
from antiphon.types import Audio

RowForm = Literal["parquet", "jsonl"]
SUMMARY = "summary.json"
REPORT = "report.html"
FILE = "file"
"""The device of transcripts that were there before."""


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
    if summary["device"] == FILE:
        return "no model: the transcripts come from a file"
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


def save_evaluation(folder: Path, evaluation: Evaluation, form: RowForm = "parquet") -> None:
    """Writes rows and then the summary, each in one step. Raises `RunError` when they cannot be written."""
    for name, rows in evaluation.rows.items():
        content = _parquet(rows) if form == "parquet" else _jsonl(rows)
        atomic.write_bytes(folder / f"{name}.{form}", content)
        for other in set(get_args(RowForm)) - {form}:
            (folder / f"{name}.{other}").unlink(missing_ok=True)
    atomic.write_json(
        folder / SUMMARY, {"model": evaluation.model, "weights": evaluation.weights, "sets": evaluation.sets}
    )


def read_evaluation(folder: Path) -> Evaluation:
    """What `save_evaluation` wrote. Raises `RunError` when it is damaged."""
    try:
        summary: Mapping[str, Any] = json.loads((folder / SUMMARY).read_bytes())
        rows = {name: _rows(folder, name) for name in summary["sets"]}
        return Evaluation(summary["model"], summary["weights"], summary["sets"], rows)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"cannot read the evaluation in {folder}: {error!r}; run antiphon eval again") from error


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    if (folder / f"{name}.jsonl").is_file():
        return lines.read(folder / f"{name}.jsonl")
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def _jsonl(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(f"{lines.encode(_without_audio(row))}\n" for row in rows).encode(errors="backslashreplace")


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_without_audio(row) for row in rows]), table)
    return table.getvalue()


def _without_audio(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the file has it: answers that are audio are in the transcripts, and the worst ones in the report."""
    return {key: value for key, value in row.items() if not isinstance(value, Audio)}
