"""Parts of tables that several commands show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from antiphon.cli.output import console, tables

if TYPE_CHECKING:
    from antiphon.data.check import Distribution
    from antiphon.data.rows import BadRow


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yields what shows a bar on stderr: it is called with the number of rows done, and of all."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total=None: shown.update(task, completed=done, total=total)


def print_bad(bad: list[BadRow]) -> None:
    from antiphon.data.rows import place

    if not bad:
        return
    shown = table(f"{len(bad)} bad row(s)", "row", "id", "reason")
    for row in bad:
        shown.add_row("" if row.line is None else place(row.line), row.id or "", row.reason)
    tables.print(shown)


def table(title: str, *headers: str) -> Table:
    table = Table(*headers, title=title or None, title_justify="left", show_header=any(headers))
    table.columns[-1].overflow = "fold"
    return table


def hours(hours: float) -> str:
    return f"{hours:.2f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def spread(values: Distribution | None) -> str:
    if values is None:
        return "-"
    return (
        f"min {values.min:.4g}, median {values.median:.4g}, mean {values.mean:.4g}, "
        f"95% below {values.p95:.4g}, max {values.max:.4g}"
    )


def counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or "-"
