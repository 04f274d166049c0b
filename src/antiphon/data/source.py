"""Loads a data set by its spec: finds the reader that claims it and reads its rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from antiphon.config import Config
from antiphon.config.plugins import Kind, is_path
from antiphon.data.examples import to_examples
from antiphon.data.readers import jsonl
from antiphon.data.rows import BadRow, ReadOptions, Rows
from antiphon.data.validate import validate
from antiphon.errors import ConfigError, DataError, did_you_mean
from antiphon.types import Example

READER = Kind("reader", "antiphon.data.readers", offers=("claims", "read"))


def reader_of(spec: str, format: str | None = None) -> Any:
    """The reader of `spec`: the one that claims it, unless `format` names another.

    A built-in `format` reads every file and folder. A user's reader, `file.py:name` or `package.module:name`, reads the
    sets that it claims and unclaimed ones. Otherwise, an unclaimed set is read as JSONL. Raises `ConfigError` for an
    unknown reader, and for a set that several readers claim.
    """
    chosen: Any = READER.load(format, "data.format") if format else None
    if inspect.isclass(chosen):
        chosen = chosen()
    forced = format is not None and not is_path(format) and ":" not in spec
    if chosen and (forced or chosen.claims(spec)):
        return chosen
    built_in = {name: READER.load(name) for name in READER.names()}
    claiming = [name for name, reader in built_in.items() if reader.claims(spec)]
    if len(claiming) > 1:
        raise ConfigError(f"{spec} may be read as {' or as '.join(claiming)}; choose one with data.format")
    if not claiming and not chosen:
        _require_path(spec, [reader.PREFIX for reader in built_in.values() if hasattr(reader, "PREFIX")])
    return built_in[claiming[0]] if claiming else chosen or jsonl


def _require_path(spec: str, prefixes: Sequence[str]) -> None:
    prefix, colon, _ = spec.partition(":")
    if colon and not Path(spec).exists():
        raise ConfigError(f"no reader claims {spec!r}; {did_you_mean(prefix + colon, prefixes)}")


def set_name(spec: str, format: str | None = None) -> str:
    """The set's name in reports: a file's stem, a built-in set's name, a hub set's configuration."""
    name_of = getattr(reader_of(spec, format), "set_name", None)
    return name_of(spec) if name_of else Path(spec).stem


def named_sets(specs: Sequence[str], format: str | None = None) -> dict[str, str]:
    """Specs by their names in reports. Raises `ConfigError` if two sets have the same name."""
    named: dict[str, str] = {}
    for spec in specs:
        name = set_name(spec, format)
        if name in named:
            raise ConfigError(
                f"{named[name]} and {spec} would both be reported as {name!r}; "
                + ("name it once" if named[name] == spec else "rename one of the files")
            )
        named[name] = spec
    return named


def mixed(sets: Sequence[tuple[str, Sequence[Example]]]) -> list[Example]:
    """Merge the examples of several sets, given as (spec, examples), into one training set.

    Raises `DataError` if two sets share an example id: sampling is seeded by ids.
    """
    first: dict[str, str] = {}
    for spec, examples in sets:
        for example in examples:
            if example.id in first:
                raise DataError(
                    f"{first[example.id]} and {spec} both have an example {example.id!r}; name each set once, and give "
                    'rows of different sets an "id" of their own'
                )
            first[example.id] = spec
    return [example for _, examples in sets for example in examples]


def read_set(spec: str | Path, options: ReadOptions | None = None) -> Rows:
    """Read the rows of a set, keeping bad ones apart with line and reason. Audio is not opened.

    Raises `DataError` if the set itself cannot be read, `ConfigError` for an unknown field, task or reader.
    """
    options, spec = options or ReadOptions(), str(spec)
    return to_examples(spec, reader_of(spec, options.format).read(spec, options), options)


def load_set(
    spec: str,
    config: Config,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    text_required: bool = True,
) -> tuple[list[Example], list[BadRow]]:
    """Load the examples of a set, decoding every recording once to check it; also returns the rows skipped.

    `limit` reads the first rows only. Texts are optional if `text_required` is False. Raises `DataError` listing bad
    rows, and the errors of `read_set`.
    """
    data = config.data
    options = ReadOptions(
        columns=data.columns, task=config.task, limit=limit, text_required=text_required, format=data.format
    )
    rows = read_set(spec, options).require_good()
    return validate(
        rows.examples,
        data.max_seconds,
        data.min_seconds,
        data.on_bad_audio,
        lines=rows.lines,
        source=spec,
        on_progress=on_progress,
    )
