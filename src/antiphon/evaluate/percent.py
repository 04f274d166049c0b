"""Rates as people read them."""

from __future__ import annotations


def percent(rate: float | None) -> str:
    """A fraction as `12.3%`; a dash where there is none."""
    return "–" if rate is None else f"{100 * rate:.1f}%"
