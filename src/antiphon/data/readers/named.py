"""Corpora by name, `NAME:SET`: see `antiphon.data.named`. They are read from the hub, or from a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from antiphon.data.named import CORPORA, Named, find
from antiphon.data.readers import hub
from antiphon.data.rows import ReadOptions, Row

PREFIXES = tuple(f"{name}:" for name in CORPORA)


def claims(spec: str) -> bool:
    return spec.partition(":")[0] in CORPORA and not Path(spec).exists()


def set_name(spec: str) -> str:
    return find(spec).name


def read(spec: str, options: ReadOptions) -> Iterator[Row]:
    """Read `NAME:SET`, or `NAME:SET:FOLDER` from a copy. Rows get the corpus's task and language.

    Raises `ConfigError` for a name that there is not, and the errors of the hub reader.
    """
    named = find(spec)
    limits = [limit for limit in (options.limit, named.chosen.limit) if limit is not None]
    limit = min(limits) if limits else None
    columns = {**named.corpus.columns, **options.columns}
    asked = replace(options, columns=columns, task=named.corpus.task, limit=None if named.chosen.where else limit)
    rows = (row for row in hub.rows(named.source, asked) if _is_in(row, named))
    yield from (_row(row, named, options) for row in islice(rows, limit))


def _is_in(row: Row, named: Named) -> bool:
    return all(row.values.get(key) == value for key, value in named.chosen.where.items())


def _row(row: Row, named: Named, options: ReadOptions) -> Row:
    corpus = named.corpus
    values, keys = dict(row.values), dict(row.keys or {}, task="task")
    if corpus.text and isinstance(said := values.get(keys["text"]), str):
        values[keys["text"]] = corpus.text(said)
    if corpus.prompt:
        values["prompt"] = corpus.prompt(row.values)
    if named.language and "language" not in options.columns:
        keys["language"] = "language"
        values["language"] = named.language
    return replace(row, values={**values, "task": corpus.task}, keys=keys)
