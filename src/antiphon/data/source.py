"""A data set by what the user calls it: a JSONL file, a built-in set, a set of the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from antiphon.config import Config
from antiphon.data import open_asr
from antiphon.data.check import validate
from antiphon.data.corpora.sets import builtin_set
from antiphon.data.hub import HUB, HubSet, load_hub
from antiphon.data.jsonl import BadRow, read_jsonl, require_good
from antiphon.data.open_asr import OPEN_ASR
from antiphon.errors import ConfigError, DataError
from antiphon.types import Example

BUILTIN = "builtin:"


def set_name(spec: str) -> str:
    """What reports call the set: a file's stem, a built-in set's name, a hub set's configuration."""
    if spec.startswith(BUILTIN):
        return spec.removeprefix(BUILTIN)
    if spec.startswith(OPEN_ASR):
        return open_asr.set_name(spec)
    return HubSet.parse(spec).name if spec.startswith(HUB) else Path(spec).stem


def named_sets(specs: Sequence[str]) -> dict[str, str]:
    """Each set by what reports call it. Raises `ConfigError` when two would be called the same."""
    named: dict[str, str] = {}
    for spec in specs:
        name = set_name(spec)
        if name in named:
            raise ConfigError(
                f"{named[name]} and {spec} would both be reported as {name!r}; "
                + ("name it once" if named[name] == spec else "rename one of the files")
            )
        named[name] = spec
    return named


def mixed(sets: Sequence[tuple[str, Sequence[Example]]]) -> list[Example]:
    """The examples of several sets, each with its spec, as one training set.

    Raises `DataError` when two have an example of the same id: what is sampled is a function of the ids.
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


def load_set(
    spec: str,
    config: Config,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    text_required: bool = True,
) -> tuple[list[Example], list[BadRow]]:
    """The examples of a set, every clip decoded once, and the rows skipped.

    `spec` is `builtin:NAME`, a JSONL file, `hf:REPO:CONFIG:SPLIT` (`antiphon.data.hub`) or `open-asr:NAME`
    (`antiphon.data.open_asr`). `limit` takes the first rows only. Without `text_required` a row may leave its text out
    (see `read_jsonl`).

    Raises `DataError` naming each bad row, `ConfigError` for an unknown built-in set.
    """
    if spec.startswith(BUILTIN):
        return list(builtin_set(spec.removeprefix(BUILTIN))[:limit]), []
    data = config.data
    lines: Mapping[str, int] = {}
    if spec.startswith(OPEN_ASR):
        examples = open_asr.load(spec, data.columns, limit)
    elif spec.startswith(HUB):
        examples = load_hub(HubSet.parse(spec), data.columns, limit, config.task, text_required)
    else:
        rows = require_good(read_jsonl(spec, data.columns, default_task=config.task, text_required=text_required))
        examples, lines = rows.examples[:limit], rows.lines
    return validate(
        examples,
        data.max_seconds,
        data.min_seconds,
        data.on_bad_audio,
        lines=lines,
        source=spec,
        on_progress=on_progress,
    )
