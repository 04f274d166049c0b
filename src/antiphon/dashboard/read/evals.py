"""The summaries of a run's evaluations, those that can be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from antiphon.dashboard.read.cache import Cached
from antiphon.dashboard.read.reasons import reason


def _read(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    summaries, damage = [], []
    for folder in path.glob("[!.]*"):
        try:
            summaries.append(_summary(json.loads((folder / "summary.json").read_bytes())))
        except (OSError, ValueError, TypeError, KeyError) as error:
            damage.append(f"evals/{folder.name} cannot be read: {reason(error)}")
    return sorted(summaries, key=lambda one: (one["step"], one["set"])), sorted(damage)


def _summary(found: dict[str, Any]) -> dict[str, Any]:
    measure = "wer" if "wer" in found else "accuracy"
    value, ci = found[measure], found.get("ci")
    if value is not None and not _finite(value):
        raise ValueError(f"its {measure} is no number")
    if not (isinstance(ci, list) and len(ci) == 2 and all(map(_finite, ci))):
        ci = None
    return {"set": str(found["set"]), "step": int(found["step"]), "measure": measure, "value": value, "ci": ci}


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


read_summaries = Cached(_read)
"""Of the folder `evals/`: by step and set, each with `measure` ("wer" or "accuracy"), its `value`, a fraction or None,
and `ci` (None where it has no interval); and what could not be read. A folder is replaced as a whole, which `evals/`
shows by its time."""
