"""`antiphon data`: check, describe and write data sets before training."""

from __future__ import annotations

import typer

from antiphon.cli.data import check, corpora, export, stats

app = typer.Typer(help="Check, describe, convert and split data sets.", no_args_is_help=True)
app.command("check")(check.command)
app.command("stats")(stats.command)
app.command("prepare")(export.prepare)
app.command("convert")(export.convert)
app.command("split")(export.split)
app.command("synth")(export.synth)
app.command("list")(corpora.list_command)
app.command("show")(corpora.show_command)
