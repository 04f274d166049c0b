"""Finds the form of a data set: which reader reads a spec, and what reports call the set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.config.plugins import Kind, is_path
from antiphon.data import content
from antiphon.data.files import is_remote, local, stem
from antiphon.data.readers import jsonl
from antiphon.errors import ConfigError, did_you_mean

READER = Kind("reader", "antiphon.data.readers", offers=("claims", "read"))


def reader_of(spec: str, format: str | None = None) -> Any:
    """The reader of `spec`: the one that claims it, unless `format` names another.

    A built-in `format` reads every file and folder. A user's reader, `file.py:name` or `package.module:name`, reads the
    sets that it claims and unclaimed ones. Content comes before names: a reader with `BY_CONTENT`, which looks into a
    file before it claims it, then a form that the first bytes leave no doubt of, then the readers that claim the name.
    An unclaimed set is read as JSONL. Raises `ConfigError` for an unknown reader, and for a set that several readers
    claim.
    """
    chosen: Any = READER.load(format, "data.format") if format else None
    if inspect.isclass(chosen):
        chosen = chosen()
    forced = format is not None and not is_path(format) and (":" not in spec or is_remote(spec))
    if chosen and (forced or chosen.claims(spec)):
        return chosen
    built_in = {name: READER.load(name) for name in READER.names()}
    claiming = [name for name, reader in built_in.items() if reader.claims(spec)]
    by_content = [name for name in claiming if getattr(built_in[name], "BY_CONTENT", False)]
    form = content.form_of(spec)
    claiming = by_content or ([form] if form in built_in else claiming)
    if len(claiming) > 1:
        raise ConfigError(f"{spec} may be read as {' or as '.join(claiming)}; choose one with data.format")
    if not claiming and not chosen:
        _require_path(spec, built_in)
    return built_in[claiming[0]] if claiming else chosen or jsonl


def name_of(reader: Any) -> str:
    """The name of a reader in reports, which `--format` takes where it is a built-in one."""
    return reader.__name__.rpartition(".")[2] if inspect.ismodule(reader) else type(reader).__name__


def _require_path(spec: str, built_in: Mapping[str, Any]) -> None:
    prefix, colon, rest = spec.partition(":")
    if not colon or rest.startswith("\\") or is_remote(spec) or Path(spec).exists():
        return
    prefixes = [reader.PREFIX for reader in built_in.values() if hasattr(reader, "PREFIX")]
    corpora = built_in["named"].PREFIXES
    listed = f"there are: {', '.join(prefixes)} and the corpora of antiphon data list"
    raise ConfigError(f"no reader claims {spec!r}; {did_you_mean(prefix + colon, [*prefixes, *corpora], listed)}")


def set_name(spec: str, format: str | None = None) -> str:
    """The set's name in reports: a file's stem, a built-in set's name, a hub set's configuration."""
    spec = local(spec)
    name_of = getattr(reader_of(spec, format), "set_name", None)
    return name_of(spec) if name_of else stem(Path(spec))


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
