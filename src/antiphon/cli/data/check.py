"""`antiphon data check`: decode every clip and list bad rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import options, output
from antiphon.cli.data import arguments, tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from antiphon.data.check import Report
    from antiphon.types import Example, Seconds


def command(
    spec: arguments.Set,
    columns: arguments.Columns = None,
    format: options.Format = None,
    limit: arguments.Limit = None,
    task: options.TaskOption = options.TASK,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Count clips longer than S seconds.")
    ] = None,
    untranscribed: Annotated[
        bool, typer.Option("--untranscribed", help="Texts are optional, as for distillation.")
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="SET", help="Warn of clips that SET has too, such as test data. Repeatable."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Also list rows that MODEL cannot hear, be asked or be taught."),
    ] = None,
    trust_remote_code: options.TrustRemoteCode = False,
    runs: options.RunsFolder = "runs",
    as_json: arguments.Json = False,
) -> None:
    """Decode every clip and list bad rows with line and reason; the exit status is 1 if there are any.

    Also warns of rows to look at: silence, clipping, samples out of scale, channels that cancel, clips under 0.1 s,
    texts too long or short for their clip or in letters of another language, and the same clip twice.

    With --model, rows are bad too whose clip is longer than the model hears, whose prompt or text has more tokens than
    its positions or its CTC frames, whose text has tokens that it may not emit, or whose language it does not know.

    Examples:

        antiphon data check train.jsonl

        antiphon data check train.jsonl --columns audio=wav --columns text=txt --max-seconds 30 --json

        antiphon data check questions.jsonl --task text

        antiphon data check recordings.jsonl --untranscribed

        antiphon data check hf:google/fleurs:de_de --limit 100

        antiphon data check train.jsonl --against test.jsonl

        antiphon data check train.jsonl --model openai/whisper-small
    """
    from antiphon.data.check import check
    from antiphon.data.rows import ReadOptions

    how = ReadOptions(
        columns=options.parse_columns(columns), task=task, limit=limit, text_required=not untranscribed, format=format
    )
    fault = _fault_of(model, task, not untranscribed, runs, trust_remote_code) if model else None
    with tables.progress(f"checking {spec}") as advance:
        report = check(spec, how, max_seconds, against=against or (), fault=fault, on_progress=advance)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _print_report(report)
    if report.bad:
        raise typer.Exit(1)


def _fault_of(
    model: str, task: str, with_reference: bool, runs: str, trust_remote_code: bool
) -> Callable[[Example, Seconds | None], str | None]:
    """Why a model cannot take an example. A row's language counts where the model knows some languages only."""
    from antiphon.config import load_config
    from antiphon.models.fit import Fit
    from antiphon.tasks.load import prompter

    policy = options.load(model, "cpu", "auto", 1, None, runs, trust_remote_code).policy

    def fit(language: str) -> Fit:
        config = load_config(flags={"task": task, "language": language})
        prompt = prompter(config, policy.rate, policy.language, policy.reads)
        return Fit(policy, prompt, with_reference=with_reference)

    told, untold = fit("given"), fit("auto")
    names_language = bool(policy.limits.languages)
    return lambda example, seconds: (told if names_language and example.language else untold)(example, seconds)


def _print_report(report: Report) -> None:
    table = tables.table(report.file, "", "")
    table.add_row("rows", f"{report.rows} ({report.good} good, {len(report.bad)} bad)")
    table.add_row("format", report.format)
    if report.columns:
        table.add_row("columns", ", ".join(f"{name}: {key}" for name, key in report.columns.items()))
    table.add_row("audio", tables.hours(report.hours))
    table.add_row("seconds per clip", tables.spread(report.durations))
    for name in ("rates", "channels", "formats", "languages", "speakers"):
        if counts := getattr(report, name):
            table.add_row(name, tables.counts(counts))
    table.add_row("empty texts", str(report.empty_texts))
    if report.over_long is not None:
        table.add_row(f"longer than {report.max_seconds:g} s", str(report.over_long))
    output.tables.print(table)
    for note in report.notes:
        output.tables.print(note)
    tables.print_bad(report.bad)
    _print_warnings(report)


def _print_warnings(report: Report, shown: int = 20) -> None:
    """The first rows of each kind of warning; `--json` has all."""
    from antiphon.data.rows import place

    if not report.warnings:
        return
    kinds = Counter(row.kind for row in report.warnings)
    table = tables.table(f"{len(report.warnings)} warning(s)", "kind", "row", "id", "reason")
    for kind, count in kinds.most_common():
        rows = [row for row in report.warnings if row.kind == kind]
        for row in rows[:shown]:
            table.add_row(kind, place(row.line), row.id, row.reason)
        if count > shown:
            table.add_row(kind, "", "", f"and {count - shown} more; --json lists all")
    output.tables.print(table)
