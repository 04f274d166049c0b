"""Loads a reward from a recipe's `reward:` or from a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from antiphon.config import validate_settings
from antiphon.config.plugins import Kind, name_of
from antiphon.config.rollout import RewardLimits
from antiphon.errors import ConfigError
from antiphon.rewards.sample import RewardFunction
from antiphon.rewards.user import as_reward
from antiphon.rewards.weighted import WeightedSum

REWARD = Kind("reward", "antiphon.rewards", offers=("Settings", "build"), function=True)

Spec = str | Callable[..., Any] | Mapping[str, Any]
RewardSpec = Spec | Sequence[Spec]


def load_reward(spec: RewardSpec, limits: RewardLimits | None = None) -> RewardFunction:
    """The reward that `spec` describes, called within `limits`.

    `"wer"`: a module of `antiphon.rewards` with default settings; `{"name": "wer", "cap": 2}` with other settings.
    `"file.py:function"` or `"package.module:function"`: the user's function, in one of the forms of `as_reward`; or the
    function object itself, alone or as `{"name": function, …}`. `"file.py"` or `"package.module"`: the user's module
    with `Settings` and `build`, like the built-in ones.
    A module may have `highest(settings)`, the highest value that its reward can give, which helps to find recipes that
    learn nothing.
    A list of those, or a mapping with a `weight`, gives their weighted sum (see `WeightedSum`). A reward of weight 0 is
    logged but not counted.

    Raises `ConfigError` naming the key or function, the problem, and the nearest valid name.
    """
    limits = limits or RewardLimits()
    if isinstance(spec, Mapping) and "weight" not in spec:
        return _load(spec, "reward", limits)
    if isinstance(spec, str) or callable(spec):
        return _load({"name": spec}, "reward", limits)
    specs = [spec] if isinstance(spec, Mapping) else spec
    if not specs:
        raise ConfigError("'reward' is an empty list; name at least one reward, such as wer")
    return WeightedSum([_term(one, f"reward[{place}]", limits) for place, one in enumerate(specs)])


def in_recipe(spec: RewardSpec) -> Any:
    """`spec` in recipe form: function objects are replaced by their names."""
    if isinstance(spec, str):
        return spec
    if isinstance(spec, Mapping):
        return {key: in_recipe(value) if key == "name" else value for key, value in spec.items()}
    return name_of(spec) if callable(spec) else [in_recipe(one) for one in spec]


def _term(spec: Spec, key: str, limits: RewardLimits) -> tuple[RewardFunction, float]:
    settings = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    weight = settings.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise ConfigError(f"'{key}.weight' must be a finite number, got {weight!r}")
    return _load(settings, key, limits), float(weight)


def _load(spec: Mapping[str, Any], key: str, limits: RewardLimits) -> RewardFunction:
    settings = dict(spec)
    name = settings.pop("name", None)
    if not name or not (isinstance(name, str) or callable(name)):
        raise ConfigError(f"'{key}' has no name; add one, such as {{name: wer}} or {{name: file.py:function}}")
    part, name = (name, name_of(name)) if callable(name) else (REWARD.load(name, key), name)
    if not isinstance(part, ModuleType):
        if settings:
            raise ConfigError(
                f"'{key}' passes settings ({', '.join(settings)}) to the function {name!r}, which takes none; "
                "set them in the function, or name a module that has Settings and build"
            )
        return as_reward(part, name, limits)
    checked = validate_settings(part.Settings, settings, where="", prefix=key)
    highest = part.highest(checked) if hasattr(part, "highest") else None
    if part.__name__.startswith(f"{REWARD.package}."):
        limits = limits.model_copy(update={"timeout_s": None})  # Ours come to an end, and need no thread.
    return as_reward(part.build(checked), name, limits, highest)
