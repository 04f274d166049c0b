"""Evaluations by a user's function: `FOLDER/scores.json`, `rows.parquet` and the rows' clips."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.runs import atomic

SCORES = "scores.json"
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("score", pa.float64()),
        ("error", pa.string()),
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("reference", pa.string()),
        ("audio", pa.string()),
        ("metrics", pa.string()),
        ("metadata", pa.string()),
    ]
)


def save_scores(
    final: Path, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], clips: Mapping[str, bytes]
) -> None:
    """Save an evaluation as the folder `final`, replacing an earlier one.

    `rows` have the columns listed in `docs/run-folder.md`, null if left out; `metrics` and `metadata` are mappings.
    `clips` are encoded recordings by path within the folder, as in the column `audio`. Raises `RunError` if it cannot
    be written.
    """
    with atomic.naming(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
    with atomic.atomic_dir(final) as aside:
        atomic.write_json(aside / SCORES, summary)
        with atomic.naming(final):
            pq.write_table(pa.Table.from_pylist([_record(row) for row in rows], schema=_SCHEMA), aside / "rows.parquet")
            for name, content in clips.items():
                (aside / name).parent.mkdir(exist_ok=True)
                (aside / name).write_bytes(content)


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    encoded = {
        name: json.dumps(atomic.finite(row.get(name) or {}), ensure_ascii=False, default=str)
        for name in ("metrics", "metadata")
    }
    return {name: row.get(name) for name in _SCHEMA.names} | encoded
