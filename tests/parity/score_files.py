"""Evaluations by a function of the user's, read back from their folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def list_scores(folder: Path) -> list[Path]:
    """The evaluations in `folder`, by name."""
    return sorted(path.parent for path in folder.glob("[!.]*/scores.json"))


def read_scores(place: Path) -> dict[str, Any]:
    """The summary of one evaluation."""
    return json.loads((place / "scores.json").read_bytes())


def read_score_rows(place: Path) -> list[dict[str, Any]]:
    """Its rows, in the data set's order, `metrics` and `metadata` as mappings."""
    rows = pq.read_table(place / "rows.parquet").to_pylist()
    return [row | {name: json.loads(row[name]) for name in ("metrics", "metadata")} for row in rows]
