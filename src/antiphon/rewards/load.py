"""From a recipe's `reward:`, or from a function, to the reward itself."""

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

    `"wer"`: a module of `antiphon.rewards`, with default settings; `{"name": "wer", "cap": 2}` with its own.
    `"file.py:function"` or `"package.module:function"`: the user's, in one of the forms of `as_reward`; or the
    function itself, alone or as `{"name": function, …}`. `"file.py"` or `"package.module"`: a module of the user's
    that has `Settings` and `build`, as the built-in ones have.
    A list of those, or a `weight` in a mapping, gives their weighted sum (see `WeightedSum`); a weight of 0
    logs a reward without counting it.

    Raises `ConfigError` naming the key or function, what is wrong with it, and the nearest valid name.
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
    """`spec` as a recipe can hold it: with a function's name where it has the function itself."""
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
        raise ConfigError(f"'{key}' has no name; write one, such as {{name: wer}} or {{name: file.py:function}}")
    part, name = (name, name_of(name)) if callable(name) else (REWARD.load(name, key), name)
    if not isinstance(part, ModuleType):
        if settings:
            raise ConfigError(
                f"'{key}' gives settings to {name!r} ({', '.join(settings)}); a function takes none: "
                "write them in it, or name a module that has Settings and build"
            )
        return as_reward(part, name, limits)
    checked = validate_settings(part.Settings, settings, where="", prefix=key)
    return as_reward(part.build(checked), name, limits)
