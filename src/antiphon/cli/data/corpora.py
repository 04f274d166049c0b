"""`antiphon data list` and `antiphon data show`: the corpora that have a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from antiphon.cli import output
from antiphon.cli.data import arguments, tables

if TYPE_CHECKING:
    from antiphon.data.named import Corpus


def list_command(as_json: arguments.Json = False) -> None:
    """List the corpora that `--data` takes by name, with their task, language and license.

    Examples:

        antiphon data list

        antiphon data list --json
    """
    from antiphon.data.named import CORPORA

    found = {name: corpus for name, corpus in CORPORA.items() if "/" not in name}
    if as_json:
        output.print_json([_described(name, corpus) for name, corpus in found.items()])
        return
    table = tables.table("", "name", "task", "language", "license", "what it is")
    table.columns[0].no_wrap = True
    for name, corpus in found.items():
        table.add_row(name, corpus.task, _language(corpus), corpus.license, corpus.title)
    output.tables.print(table)


def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of antiphon data list.", show_default=False)],
    as_json: arguments.Json = False,
) -> None:
    """Show a corpus: its sets, where it lies on the hub, its columns, and what of that was looked up.

    Examples:

        antiphon data show librispeech

        antiphon data show fleurs --json
    """
    from antiphon.data.named import CORPORA
    from antiphon.errors import ConfigError, did_you_mean

    if name not in CORPORA:
        raise ConfigError(f"there is no corpus {name!r}; {did_you_mean(name, CORPORA)}")
    found = _described(name, CORPORA[name])
    if as_json:
        output.print_json(found)
        return
    table = tables.table(CORPORA[name].title, "", "")
    for key, value in found.items():
        if key not in ("name", "title") and value:
            table.add_row(key, _shown(value))
    output.tables.print(table)


def _described(name: str, corpus: Corpus) -> dict[str, Any]:
    return {
        "name": name,
        "title": corpus.title,
        "sets": corpus.specs(name),
        "repository": corpus.repo,
        "revision": corpus.revision or "main",
        "splits": {one: [chosen.config, chosen.split] for one, chosen in corpus.sets.items()} or [*corpus.splits],
        "task": corpus.task,
        "language": _language(corpus),
        "columns": dict(corpus.columns),
        "license": corpus.license,
        "seen": corpus.seen or "nothing: its layout was not looked up",
        "note": corpus.note,
    }


def _language(corpus: Corpus) -> str:
    return corpus.language or ("by set" if corpus.splits else "")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        lines = {key: " ".join(filter(None, one)) if isinstance(one, list) else one for key, one in value.items()}
        return "\n".join(f"{key}: {line}" for key, line in lines.items())
    return "\n".join(value) if isinstance(value, list) else str(value)
