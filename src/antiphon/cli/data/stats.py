"""`antiphon data stats`: describe the texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antiphon.cli import options, output
from antiphon.cli.data import arguments, tables

if TYPE_CHECKING:
    from antiphon.data.stats import Share, Stats


def command(
    spec: arguments.Set,
    columns: arguments.Columns = None,
    format: options.Format = None,
    limit: arguments.Limit = None,
    task: options.TaskOption = options.TASK,
    as_json: arguments.Json = False,
) -> None:
    """Describe the texts: words, speaking rate, vocabulary, speakers and languages. Reads only headers of recordings.

    Examples:

        antiphon data stats train.jsonl

        antiphon data stats train.jsonl --columns text=sentence --json

        antiphon data stats builtin:commands-noisy
    """
    from antiphon.data.rows import ReadOptions
    from antiphon.data.stats import stats

    found = stats(spec, ReadOptions(columns=options.parse_columns(columns), task=task, limit=limit, format=format))
    if as_json:
        output.print_json(found.to_dict())
    else:
        _print_stats(found)


def _print_stats(found: Stats) -> None:
    table = tables.table(found.file, "", "")
    table.add_row("utterances", f"{found.utterances} ({found.empty_texts} with empty text)")
    table.add_row("audio", tables.hours(found.hours))
    table.add_row("seconds per clip", tables.spread(found.durations))
    table.add_row("words", f"{found.words}, {found.vocabulary} distinct, {found.words_per_second:.2f} per second")
    table.add_row("words per utterance", tables.spread(found.words_per_utterance))
    table.add_row("characters per utterance", tables.spread(found.chars_per_utterance))
    table.add_row("most common words", tables.counts(found.common_words))
    output.tables.print(table)
    _print_shares("speaker", found.speakers)
    _print_shares("language", found.languages)
    tables.print_bad(found.bad)


def _print_shares(kind: str, shares: dict[str, Share]) -> None:
    from antiphon.data.stats import NOT_GIVEN

    if list(shares) in ([], [NOT_GIVEN]):
        return
    table = tables.table("", kind, "utterances", "audio", "words", "words/s")
    for name, share in shares.items():
        table.add_row(
            name,
            str(share.utterances),
            tables.hours(share.hours),
            str(share.words),
            f"{share.words_per_second:.2f}",
        )
    output.tables.print(table)
