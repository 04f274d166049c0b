"""Command output: messages on stderr; tables, or one line of JSON, on stdout."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

console = Console(stderr=True, markup=False, emoji=False)
"""Progress, notes and errors on stderr. Text is printed literally, without `[markup]` or `:emoji:`."""

tables = Console(markup=False, emoji=False)
"""Human-readable results on stdout."""


def print_json(payload: Any) -> None:
    """Print `payload` as one line of JSON on stdout; NaN and infinities become null."""
    from antiphon.runs.atomic import finite

    print(json.dumps(finite(payload), ensure_ascii=False, allow_nan=False), flush=True)


def print_error(message: str) -> None:
    """Print `message` on stderr after a red `error:`, unwrapped, so that it can be searched and piped."""
    console.print("error:", style="bold red", end=" ")
    console.print(message, highlight=False, soft_wrap=True)
