"""Merges a recipe file, named flags and `key=value` overrides into one validated `Config`; the last one wins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.config import yaml
from antiphon.config.schema import Config
from antiphon.config.settings import Path as KeyPath
from antiphon.config.settings import dotted, plain, validate_settings
from antiphon.errors import ConfigError

_FLAG_KEYS = {"data": "data.train", "cycles": "train.steps"}
_SHORTHANDS = {"algorithm": "grpo", "reward": "wer", "rollout.engine": "in_process"}
"""Keys that accept a bare name, and the default name."""


def load_config(
    recipe: Path | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    flags: Mapping[str, Any] | None = None,
    defaults: Callable[[Any], Mapping[str, Any]] | None = None,
) -> Config:
    """The configuration of a run.

    `recipe` is a YAML file; `flags` are command-line options by name (`{"model": "builtin:student"}`, where
    `data` means `data.train` and None means not given); `overrides` are `dotted.key=value`, values in YAML, or values
    by their dotted keys. An override replaces the value at its key. `defaults` takes the recipe's algorithm as it was
    written, and returns dotted keys and values for what nothing else set.

    Raises `ConfigError` with the key, where it came from and the nearest valid name.
    """
    layers = _Layers()
    if recipe is not None:
        layers.add_recipe(Path(recipe))
    for name, value in (flags or {}).items():
        if value is not None:
            layers.set(_FLAG_KEYS.get(name, name), value, f"--{name}")
    for key, value, origin in _overrides(overrides):
        layers.set(key, value, origin)
    for key, value in (defaults(layers.values.get("algorithm")) if defaults else {}).items():
        if not layers.has(key):
            layers.set(key, value, "the algorithm's defaults")
    return validate_settings(Config, layers.values, layers.origin)


def _overrides(given: Sequence[str] | Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yields the key, value and origin of each override."""
    if isinstance(given, Mapping):
        yield from ((key, plain(value, key), f"the argument {key!r}") for key, value in given.items())
        return
    for override in given:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"the override {override!r} is not KEY=VALUE; write it like train.steps=100")
        origin = f"the override {override!r}"
        yield key.strip(), yaml.parse(text, origin), origin


class _Layers:
    """Nested values, and for each key where it was last set."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._origins: dict[KeyPath, str] = {}

    def add_recipe(self, path: Path) -> None:
        try:
            values = yaml.parse(path.read_text(encoding="utf-8"), str(path))
        except UnicodeDecodeError as error:
            raise ConfigError(f"the recipe {path} is not UTF-8 text; save it as UTF-8") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"cannot read the recipe {path}: {reason}; give the path of a YAML file") from error
        if not isinstance(values, dict | None):
            raise ConfigError(f"the recipe {path} must be a mapping of keys to values, not {type(values).__name__}")
        self._check_names(values or {}, (), str(path))
        self.values = values or {}
        self._origins[()] = str(path)

    def set(self, key: str, value: Any, origin: str) -> None:
        path = tuple(key.split("."))
        section: dict[str, Any] = self.values
        for depth, part in enumerate(path[:-1]):
            below = section.get(part)
            above = dotted(path[: depth + 1])
            if above in _SHORTHANDS and (below is None or isinstance(below, str)):
                below = {"name": below or _SHORTHANDS[above]}
            if below is not None and not isinstance(below, dict):
                where = f" in {self.origin(path[: depth + 1])}" if self._origins else ""
                raise ConfigError(
                    f"{origin} sets a key of {dotted(path[: depth + 1])!r}, which is {below!r}{where}, "
                    "not a mapping; set it as a whole"
                )
            section[part] = below = dict(below or {})
            section = below
        self._check_names(value, path, origin)
        section[path[-1]] = value
        self._origins = {known: o for known, o in self._origins.items() if known[: len(path)] != path}
        self._origins[path] = origin

    def has(self, key: str) -> bool:
        """Whether the key was set, or a parent key to something other than a mapping."""
        section: Any = self.values
        for part in key.split("."):
            if not isinstance(section, dict):
                return section is not None
            if part not in section:
                return False
            section = section[part]
        return True

    def origin(self, path: KeyPath) -> str:
        """Where the value at `path` was set, itself or as part of its nearest parent key."""
        for length in range(len(path), -1, -1):
            if path[:length] in self._origins:
                return self._origins[path[:length]]
        return ""

    def _check_names(self, value: Any, path: KeyPath, origin: str) -> None:
        if isinstance(value, dict):
            for name, below in value.items():
                if not isinstance(name, str):
                    under = f" under {dotted(path)!r}" if path else ""
                    raise ConfigError(f"the key {name!r}{under} in {origin} must be text; quote it")
                self._check_names(below, (*path, name), origin)
