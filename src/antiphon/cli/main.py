"""The command `antiphon`: collects the subcommands and turns errors into one line and an exit status.

Command modules import torch and the models inside their functions, so that `--help` is fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from antiphon import __version__
from antiphon.cli import compare, dashboard, data, demo, evaluate, export, models, runs, score, serve, train, transcribe
from antiphon.cli.output import print_error
from antiphon.distributed import environment
from antiphon.errors import AntiphonError, ConfigError, RankError

_DEBUG = "ANTIPHON_DEBUG"

app = typer.Typer(
    name="antiphon",
    help="Post-train speech recognizers and audio-language models by reinforcement learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.command("demo", epilog=demo.EPILOG)(demo.command)
app.command("train", epilog=train.EPILOG)(train.command)
app.command("eval", epilog=evaluate.EPILOG, context_settings=evaluate.MORE_PRESETS)(evaluate.command)
app.command("compare", epilog=compare.EPILOG)(compare.command)
app.command("score", epilog=score.EPILOG)(score.command)
app.command("transcribe", epilog=transcribe.EPILOG)(transcribe.command)
app.command("serve", epilog=serve.EPILOG)(serve.command)
app.command("dashboard", epilog=dashboard.EPILOG)(dashboard.command)
app.command("export", epilog=export.EPILOG)(export.command)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.command("runs")(runs.list_command)
app.command("checkpoints")(runs.checkpoints_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"antiphon {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks of errors ({_DEBUG}=1).")] = False,
) -> None:
    if debug:
        os.environ[_DEBUG] = "1"
    if environment.size() > 1 and context.invoked_subcommand != "train":
        raise ConfigError(f"antiphon {context.invoked_subcommand} runs in one process; start it without torchrun")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status: 0 for success, 2 for an error with a message, 130 if interrupted."""
    try:
        app(arguments, prog_name="antiphon")
    except AntiphonError as error:
        if os.environ.get(_DEBUG) == "1":
            raise
        if _reports(error):
            print_error(f"rank {environment.rank()}: {error}" if environment.size() > 1 else str(error))
        sys.exit(2)


def _reports(error: AntiphonError) -> bool:
    """Whether this rank prints the error. Of several ranks, the first that failed does; its error has a note.

    Errors on all ranks before they are connected are printed by rank 0.
    """
    noted = bool(getattr(error, "__notes__", ()))
    return environment.size() == 1 or noted or (environment.rank() == 0 and not isinstance(error, RankError))
