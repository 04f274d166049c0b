"""`antiphon data`: check and describe data sets before training."""

from __future__ import annotations

import typer

from antiphon.cli.data import check, stats

app = typer.Typer(help="Check and describe data sets.", no_args_is_help=True)
app.command("check")(check.command)
app.command("stats")(stats.command)
