"""Which rows of an evaluation, or pairs of two, a page shows, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from antiphon.dashboard.read.evaluations import Pair, Row
from antiphon.tasks.task import row_errors, row_units

SHOWN: dict[str, dict[str, str]] = {
    "recognized": {"": "All", "errors": "With errors", "cut": "Truncated", "empty": "Empty transcript"},
    "scored": {"": "All", "failed": "Failed"},
    "compared": {"": "All", "changed": "Changed", "better": "Better", "worse": "Worse"},
}
ORDERS: dict[str, dict[str, str]] = {
    "recognized": {"": "Worst first", "rate": "Highest rate first", "longest": "Longest first"},
    "scored": {"": "Worst first", "best": "Best first"},
    "compared": {"": "Worsened first", "better": "Improved first"},
}


def rows(found: Sequence[Row], kind: str, only: str, sort: str, words: str) -> Sequence[Row]:
    """The rows of a kind that pass the filter `only` and contain `words`."""
    only, sort = (only if only in SHOWN[kind] else ""), (sort if sort in ORDERS[kind] else "")
    chosen = [row for row in found if _is(row, only) and words.casefold() in _text(row)]
    return sorted(chosen, key=_KEYS[sort]) if sort else _worst(chosen)


def pairs(found: Sequence[Pair], only: str, sort: str, words: str) -> Sequence[Pair]:
    chosen = [one for one in found if _passes(one, only) and words.casefold() in _text(one.after, one.before)]
    return sorted(chosen, key=lambda one: one.change if sort == "better" else -one.change)


def _worst(rows: list[Row]) -> list[Row]:
    """Worst first. Recognized rows are saved in this order; of scored rows, failed ones come first, then low scores."""
    if not rows or "score" not in rows[0]:
        return rows
    return sorted(rows, key=lambda row: -math.inf if row["score"] is None else row["score"])


def _is(row: Row, only: str) -> bool:
    match only:
        case "errors":
            return row_errors(row) > 0
        case "cut":
            return bool(row.get("truncated"))
        case "empty":
            return not row.get("pred_clean", row.get("pred_text"))
        case "failed":
            return row.get("error") is not None
    return True


def _passes(pair: Pair, only: str) -> bool:
    return {"changed": pair.change != 0, "better": pair.change < 0, "worse": pair.change > 0}.get(only, True)


def _text(*rows: Row) -> str:
    keys = ("id", "ref_clean", "pred_clean", "speaker", "group", "reference", "response", "prompt", "error")
    return "\n".join(str(row[key]) for row in rows for key in keys if row.get(key)).casefold()


_KEYS: dict[str, Callable[[Row], Any]] = {
    "rate": lambda row: -row_errors(row) / max(row_units(row), 1),
    "longest": lambda row: -row["seconds"],
    "best": lambda row: (row["score"] is None, -(row["score"] or 0.0)),
}
