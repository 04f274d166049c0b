"""From a recipe's `reward:`, or from a function, to the reward itself."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import antiphon.rewards
from antiphon.config import validate_settings
from antiphon.config.schema import RewardLimits
from antiphon.errors import ConfigError, did_you_mean
from antiphon.rewards.imports import import_function, name_of
from antiphon.rewards.sample import RewardFunction
from antiphon.rewards.user import as_reward
from antiphon.rewards.weighted import WeightedSum

Spec = str | Callable[..., Any] | Mapping[str, Any]
RewardSpec = Spec | Sequence[Spec]


def load_reward(spec: RewardSpec, limits: RewardLimits | None = None) -> RewardFunction:
    """The reward that `spec` describes, called within `limits`.

    `"wer"`: a module of `antiphon.rewards`, with default settings; `{"name": "wer", "cap": 2}` with its own.
    `"file.py:function"` or `"package.module:function"`: the user's, in one of the forms of `as_reward`; or the
    function itself, alone or as `{"name": function, …}`.
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
    if callable(name) or ":" in name or name.endswith(".py"):
        function, name = (name, name_of(name)) if callable(name) else (import_function(name), name)
        if settings:
            raise ConfigError(
                f"'{key}' gives settings to {name!r} ({', '.join(settings)}); only built-in ones take any: "
                "write them in the function"
            )
        return as_reward(function, name, limits)
    module = _builtin(name) if name in _modules() else None
    if module is None:
        builtin = [one for one in _modules() if _builtin(one)]
        hint = did_you_mean(name, builtin)
        raise ConfigError(f"unknown reward {name!r} in '{key}'; {hint} (your own is written file.py:function)")
    checked = validate_settings(module.Settings, settings, where="", prefix=key)
    return as_reward(module.build(checked), name, limits)


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(antiphon.rewards.__path__)]


def _builtin(name: str) -> Any:
    """The module of a built-in reward; None where the module is no reward (it has no `build`)."""
    module = importlib.import_module(f"antiphon.rewards.{name}")
    return module if hasattr(module, "build") else None
