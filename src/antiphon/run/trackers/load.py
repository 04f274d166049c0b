"""From a recipe's `track:` to trackers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from antiphon.config import validate_settings
from antiphon.config.plugins import Kind
from antiphon.errors import ConfigError, describe
from antiphon.run.observers import Observer
from antiphon.run.trackers.background import Background

TRACKER = Kind(
    "tracker",
    package="antiphon.run.trackers",
    offers=("started", "stepped", "evaluated", "gated", "saved", "noted", "finished"),
    attribute="Tracker",
)


def load_trackers(specs: Sequence[Mapping[str, Any]], note: Callable[[str], None]) -> list[Observer]:
    """The trackers that a recipe names, each in a thread of its own; `note` is told of those that fail.

    Raises `ConfigError` for an unknown name, a tracker given twice or a wrong setting, `MissingExtraError` where a
    library is not installed.
    """
    names = [spec["name"] for spec in specs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"'track' names {twice[0]!r} twice; leave one out")
    trackers = [_load(spec, f"track[{place}]") for place, spec in enumerate(specs)]
    return [Background(name, tracker, note) for name, tracker in zip(names, trackers, strict=True)]


def _load(spec: Mapping[str, Any], key: str) -> Observer:
    """A class with `Settings` is called with those, another with its settings by name."""
    given = dict(spec)
    name = given.pop("name")
    tracker = TRACKER.load(name, key)
    if hasattr(tracker, "Settings"):
        return tracker(validate_settings(tracker.Settings, given, where="", prefix=key))
    try:
        return tracker(**given)
    except Exception as error:
        raise ConfigError(f"'{key}': the tracker {name!r} cannot be made of {given}: {describe(error)}") from error
