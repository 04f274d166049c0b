"""`antiphon data`: check and describe data sets before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from antiphon.cli import options
from antiphon.cli.output import print_json, tables
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.data.check import Distribution, Report
    from antiphon.data.rows import BadRow
    from antiphon.data.stats import Share, Stats

app = typer.Typer(help="Check and describe data sets.", no_args_is_help=True)

_Set = Annotated[
    str,
    typer.Argument(metavar="SET", help="FILE.jsonl, builtin:SET or hf:REPO:CONFIG:SPLIT.", show_default=False),
]
_Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Read the first rows only.")]
_Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", metavar="FIELD=KEY", help="Read FIELD from the column KEY. Repeatable."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


@app.command("check")
def check_command(
    spec: _Set,
    columns: _Columns = None,
    format: options.Format = None,
    limit: _Limit = None,
    task: options.TaskOption = options.TASK,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Count clips longer than S seconds.")
    ] = None,
    untranscribed: Annotated[
        bool, typer.Option("--untranscribed", help="Texts are optional, as for distillation.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Decode every clip and list bad rows with line and reason; the exit status is 1 if there are any.

    Examples:

        antiphon data check train.jsonl

        antiphon data check train.jsonl --columns audio=wav --columns text=txt --max-seconds 30 --json

        antiphon data check questions.jsonl --task text

        antiphon data check recordings.jsonl --untranscribed

        antiphon data check hf:google/fleurs:de_de --limit 100
    """
    from antiphon.data.check import check
    from antiphon.data.rows import ReadOptions

    how = ReadOptions(
        columns=parse_columns(columns), task=task, limit=limit, text_required=not untranscribed, format=format
    )
    report = check(spec, how, max_seconds)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)
    if report.bad:
        raise typer.Exit(1)


@app.command("stats")
def stats_command(
    spec: _Set,
    columns: _Columns = None,
    format: options.Format = None,
    limit: _Limit = None,
    task: options.TaskOption = options.TASK,
    as_json: _Json = False,
) -> None:
    """Describe the texts: words, speaking rate, vocabulary, speakers and languages. Reads only headers of recordings.

    Examples:

        antiphon data stats train.jsonl

        antiphon data stats train.jsonl --columns text=sentence --json

        antiphon data stats builtin:commands-noisy
    """
    from antiphon.data.rows import ReadOptions
    from antiphon.data.stats import stats

    found = stats(spec, ReadOptions(columns=parse_columns(columns), task=task, limit=limit, format=format))
    if as_json:
        print_json(found.to_dict())
    else:
        _print_stats(found)


def parse_columns(options: list[str] | None) -> dict[str, str]:
    """Parse ["audio=wav"] to {"audio": "wav"}. Raises `ConfigError` for anything but FIELD=KEY."""
    columns: dict[str, str] = {}
    for option in options or []:
        name, equals, key = option.partition("=")
        if not (name and equals and key):
            raise ConfigError(f"--columns {option}: write FIELD=KEY, e.g. --columns audio=wav")
        if name in columns:
            raise ConfigError(f"--columns {option}: {name} is given twice; name each field once")
        columns[name] = key
    return columns


def _print_report(report: Report) -> None:
    table = _table(report.file, "", "")
    table.add_row("rows", f"{report.rows} ({report.good} good, {len(report.bad)} bad)")
    table.add_row("audio", _hours(report.hours))
    table.add_row("seconds per clip", _range(report.durations))
    for name in ("rates", "channels", "formats", "languages", "speakers"):
        if counts := getattr(report, name):
            table.add_row(name, _counts(counts))
    table.add_row("empty texts", str(report.empty_texts))
    if report.over_long is not None:
        table.add_row(f"longer than {report.max_seconds:g} s", str(report.over_long))
    tables.print(table)
    _print_bad(report.bad)


def _print_stats(found: Stats) -> None:
    table = _table(found.file, "", "")
    table.add_row("utterances", f"{found.utterances} ({found.empty_texts} with empty text)")
    table.add_row("audio", _hours(found.hours))
    table.add_row("seconds per clip", _range(found.durations))
    table.add_row("words", f"{found.words}, {found.vocabulary} distinct, {found.words_per_second:.2f} per second")
    table.add_row("words per utterance", _range(found.words_per_utterance))
    table.add_row("characters per utterance", _range(found.chars_per_utterance))
    table.add_row("most common words", _counts(found.common_words))
    tables.print(table)
    _print_shares("speaker", found.speakers)
    _print_shares("language", found.languages)
    _print_bad(found.bad)


def _print_shares(kind: str, shares: dict[str, Share]) -> None:
    from antiphon.data.stats import NOT_GIVEN

    if list(shares) in ([], [NOT_GIVEN]):
        return
    table = _table("", kind, "utterances", "audio", "words", "words/s")
    for name, share in shares.items():
        table.add_row(
            name,
            str(share.utterances),
            _hours(share.hours),
            str(share.words),
            f"{share.words_per_second:.2f}",
        )
    tables.print(table)


def _print_bad(bad: list[BadRow]) -> None:
    from antiphon.data.rows import place

    if not bad:
        return
    table = _table(f"{len(bad)} bad row(s)", "row", "id", "reason")
    for row in bad:
        table.add_row("" if row.line is None else place(row.line), row.id or "", row.reason)
    tables.print(table)


def _table(title: str, *headers: str) -> Table:
    table = Table(*headers, title=title or None, title_justify="left", show_header=any(headers))
    table.columns[-1].overflow = "fold"
    return table


def _hours(hours: float) -> str:
    return f"{hours:.2f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _range(values: Distribution | None) -> str:
    if values is None:
        return "-"
    return (
        f"min {values.min:.4g}, median {values.median:.4g}, mean {values.mean:.4g}, "
        f"95% below {values.p95:.4g}, max {values.max:.4g}"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or "-"
