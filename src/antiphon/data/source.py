"""Loads a data set by its spec: reads its rows, checks them, mixes sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from antiphon.config import Config
from antiphon.data import index
from antiphon.data.arrow import pc
from antiphon.data.examples import to_examples
from antiphon.data.files import local
from antiphon.data.forms import name_of, reader_of
from antiphon.data.indexed import ids, joined, repeated
from antiphon.data.readers import jsonl
from antiphon.data.rows import BadRow, ReadOptions, Row, Rows
from antiphon.data.scans import OnProgress
from antiphon.data.validate import Checked, Keep, checked
from antiphon.errors import DataError
from antiphon.types import Example


def mixed(sets: Sequence[tuple[str, Sequence[Example]]]) -> Sequence[Example]:
    """Merge the examples of several sets, given as (spec, examples), into one training set.

    Raises `DataError` if two sets share an example id: sampling is seeded by ids.
    """
    whole = joined([examples for _, examples in sets])
    again = np.flatnonzero(repeated(ids(whole))) if len(sets) > 1 else []
    if len(again):
        id = ids(whole)[int(again[0])].as_py()
        first, second = [spec for spec, examples in sets if pc.is_in(pa.scalar(id), ids(examples)).as_py()][:2]
        raise DataError(
            f"{first} and {second} both have an example {id!r}; name each set once, and give "
            'rows of different sets an "id" of their own'
        )
    return whole


def read_set(spec: str | Path, options: ReadOptions | None = None) -> Rows:
    """Read the rows of a set, keeping bad ones apart with line and reason. Audio is not opened.

    Raises `DataError` if the set itself cannot be read, `ConfigError` for an unknown field, task or reader.
    """
    options, spec = options or ReadOptions(), local(str(spec))
    reader = reader_of(spec, options.format)
    if reader.read is jsonl.read and (rows := index.read(spec, options, name_of(reader))):
        return rows
    return to_examples(spec, reader.read(spec, options), options, name_of(reader))


def for_evaluation(config: Config, spec: str) -> Config:
    """The recipe with those of its `data.columns` that the first row of an evaluation set has.

    The columns are those of the training sets; a set to evaluate on may have the usual ones.
    """
    data, spec = config.data, local(spec)
    if not data.columns:
        return config
    rows = reader_of(spec, data.format).read(spec, ReadOptions(limit=1, task=config.task, text_required=False))
    try:
        first = next(iter(rows), None)
    except DataError:
        return config
    if not isinstance(first, Row):
        return config
    columns = {field: column for field, column in data.columns.items() if column in first.values}
    return config.model_copy(update={"data": data.model_copy(update={"columns": columns})})


def load_set(
    spec: str,
    config: Config,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
    text_required: bool = True,
) -> tuple[Sequence[Example], list[BadRow]]:
    """Load the examples of a set, decoding every recording once to check it; also returns the rows skipped.

    `limit` reads the first rows only. Texts are optional if `text_required` is False. Raises `DataError` listing bad
    rows, and the errors of `read_set`.
    """
    found = checked_set(spec, config, limit, on_progress, text_required)
    return found.examples, found.skipped


def checked_set(
    spec: str,
    config: Config,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
    text_required: bool = True,
    keep: Keep | None = None,
    own_name: str | None = None,
) -> Checked:
    """Like `load_set`, with what is known of each clip. `keep` says which rows of a training set to look at, `own_name`
    what ids call the set."""
    data = config.data
    options = ReadOptions(
        columns=data.columns,
        task=config.task,
        limit=limit,
        text_required=text_required,
        format=data.format,
        channel=data.channel,
        end_slack=data.end_slack_seconds,
        own_name=own_name,
    )
    rows = read_set(spec, options)
    if keep and data.deduplicate:
        rows.bad = [row for row in rows.bad if not row.repeats]
    rows.require_good()
    return checked(
        rows.examples,
        data.max_seconds,
        data.min_seconds,
        data.on_bad_audio,
        lines=rows.lines,
        source=spec,
        on_progress=on_progress,
        keep=keep,
        synthetic=keep is not None and data.filter.of_time,
    )
