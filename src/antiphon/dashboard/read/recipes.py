"""Recipes as flat tables of settings, for comparison with the defaults and each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from antiphon.config import load_config, yaml
from antiphon.dashboard.read.cache import Cached
from antiphon.dashboard.read.reasons import clean, reason
from antiphon.errors import AntiphonError, RunError


def _read(path: Path) -> dict[str, str]:
    try:
        recipe = yaml.parse(path.read_text(encoding="utf-8"), path.name)
    except (OSError, ValueError, AntiphonError, RecursionError) as error:
        raise RunError(f"{path.name} cannot be read: {reason(error)}") from error
    if not isinstance(recipe, dict):
        raise RunError(f"{path.name} cannot be read: it is not a mapping of settings")
    return dict(_flat(recipe, ""))


read_recipe = Cached(_read, keep=64)
"""The settings of a `config.yaml` by dotted key, as a user types them. Raises `RunError` if unreadable."""


@cache
def default_recipe() -> dict[str, str]:
    return dict(_flat(load_config().model_dump(mode="json"), ""))


def differences(recipes: Sequence[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """The keys in which recipes differ, with the value of every recipe; None if a recipe lacks the key."""
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe))
    values = {key: [recipe.get(key) for recipe in recipes] for key in keys}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _flat(below, f"{prefix}.{key}" if prefix else str(key))
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        yield clean(prefix), clean(text)
