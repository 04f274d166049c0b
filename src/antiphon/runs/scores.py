"""Evaluations by a function of the user's: `FOLDER/scores.json`, `rows.parquet` and the clips that it gave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.errors import RunError
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
    """Writes one evaluation as the folder `final`, in place of an earlier one.

    `rows` have the columns that `docs/run-folder.md` lists, null where one is left out; `metrics` and `metadata` are
    mappings. `clips` are encoded recordings by their path within the folder, which is what the column `audio` names.
    Raises `RunError` when it cannot be written.
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


def list_scores(folder: Path) -> list[Path]:
    """The evaluations in `folder`, by name."""
    return sorted(path.parent for path in folder.glob(f"[!.]*/{SCORES}"))


def read_scores(place: Path) -> dict[str, Any]:
    """The summary of one evaluation. Raises `RunError` when it is damaged."""
    try:
        return dict(json.loads((place / SCORES).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"cannot read {place / SCORES}: {error}; evaluate again") from error


def read_score_rows(place: Path) -> list[dict[str, Any]]:
    """The rows of one evaluation, in the data set's order, `metrics` and `metadata` as mappings.

    Raises `RunError` when they are damaged.
    """
    path = place / "rows.parquet"
    try:
        rows = pq.read_table(path).to_pylist()
        return [row | {name: json.loads(row[name]) for name in ("metrics", "metadata")} for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"cannot read {path}: {error}; evaluate again") from error


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    encoded = {
        name: json.dumps(atomic.finite(row.get(name) or {}), ensure_ascii=False, default=str)
        for name in ("metrics", "metadata")
    }
    return {name: row.get(name) for name in _SCHEMA.names} | encoded
