"""`antiphon score`: error rates of transcripts that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antiphon.cli import options
from antiphon.cli.evaluate import RowForm, show
from antiphon.cli.output import print_json
from antiphon.cli.progress import Terminal

EPILOG = """\
Examples:

antiphon score texts.jsonl dev.jsonl

antiphon score exp/decode/text data/dev/text --output scores-a

antiphon score system.trn reference.trn --language en --json
"""
FILE = "JSONL, Kaldi's text, sclite's trn or a data set"


def command(
    hypotheses: Annotated[str, typer.Argument(metavar="HYP", help=f"What was recognized: {FILE}.", show_default=False)],
    references: Annotated[str, typer.Argument(metavar="REF", help=f"What was said: {FILE}.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Write figures, rows and report.html.")
    ] = None,
    rows: Annotated[RowForm, typer.Option("--rows", help="The form of the rows in --output.")] = RowForm.parquet,
    normalizer: options.Normalizer = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Of all texts, where the references do not name it.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="COLUMN", help="Measure by group too: speaker, language, ...")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Measure existing transcripts against references, with the figures and the report of `antiphon eval`."""
    from antiphon.evaluate.normalizers import load_normalizer
    from antiphon.evaluate.scoring import score_files

    rules = load_normalizer(normalizer or "default")
    with Terminal() as terminal:
        evaluation = score_files(hypotheses, references, rules, terminal, language, group_by, output, rows.value)
    if as_json:
        print_json(evaluation.sets)
    else:
        show(evaluation, output, rows.value)
