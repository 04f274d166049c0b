"""Where the commands print: people read stderr and tables on stdout, programs one line of JSON on stdout."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

console = Console(stderr=True)
"""Progress, notes and errors."""

tables = Console()
"""Results for people, on stdout."""


def print_json(payload: Any) -> None:
    """Prints `payload` as one line on stdout; NaN and infinities become null."""
    from antiphon.runs.atomic import finite

    print(json.dumps(finite(payload), ensure_ascii=False, allow_nan=False), flush=True)


def print_error(message: str) -> None:
    """Prints `message` on stderr after a red `error:`, unwrapped, so that it can be searched and piped."""
    console.print("[bold red]error:[/]", end=" ")
    console.print(message, markup=False, highlight=False, soft_wrap=True)
