"""From a recipe's `reward:` to the reward itself."""

from __future__ import annotations

import difflib
import importlib
import math
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

import antiphon.rewards
from antiphon.config import validate_settings
from antiphon.errors import ConfigError
from antiphon.rewards.running import WeightedSum
from antiphon.rewards.sample import RewardFunction
from antiphon.rewards.user import load_user_reward

Spec = str | Mapping[str, Any]


def load_reward(spec: Spec | Sequence[Spec]) -> RewardFunction:
    """The reward that `spec` describes.

    `"wer"`: a module of `antiphon.rewards`, with default settings; `{"name": "wer", "cap": 2}` with its own.
    `"file.py:function"` or `"package.module:function"`: the user's (see `load_user_reward`).
    A list of those, or a `weight` in a mapping, gives their weighted sum (see `WeightedSum`); a weight of 0
    logs a reward without counting it.

    Raises `ConfigError` naming the key or function, what is wrong with it, and the nearest valid name.
    """
    if isinstance(spec, str):
        return _load({"name": spec}, "reward")
    if isinstance(spec, Mapping) and "weight" not in spec:
        return _load(spec, "reward")
    specs = [spec] if isinstance(spec, Mapping) else spec
    if not specs:
        raise ConfigError("'reward' is an empty list; name at least one reward, such as wer")
    return WeightedSum([_term(one, f"reward[{place}]") for place, one in enumerate(specs)])


def _term(spec: Spec, key: str) -> tuple[RewardFunction, float]:
    settings = {"name": spec} if isinstance(spec, str) else dict(spec)
    weight = settings.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise ConfigError(f"'{key}.weight' must be a finite number, got {weight!r}")
    return _load(settings, key), float(weight)


def _load(spec: Mapping[str, Any], key: str) -> RewardFunction:
    settings = dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"'{key}' has no name; write one, such as {{name: wer}} or {{name: file.py:function}}")
    if ":" in name or name.endswith(".py"):
        if settings:
            raise ConfigError(
                f"'{key}' gives settings to {name!r} ({', '.join(settings)}); only built-in ones take any: "
                "write them in the function"
            )
        return load_user_reward(name)
    module = _builtin(name) if name in _modules() else None
    if module is None:
        builtin = [one for one in _modules() if _builtin(one)]
        nearest = difflib.get_close_matches(name, builtin, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(builtin)}"
        raise ConfigError(f"unknown reward {name!r} in '{key}'; {hint} (your own is written file.py:function)")
    return module.build(validate_settings(module.Settings, settings, where="", prefix=key))


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(antiphon.rewards.__path__)]


def _builtin(name: str) -> Any:
    """The module of a built-in reward; None where the module is no reward (it has no `build`)."""
    module = importlib.import_module(f"antiphon.rewards.{name}")
    return module if hasattr(module, "build") else None
