"""The losses of a run: one algorithm, or several that are summed over the same completions."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from torch import Tensor

from antiphon import algorithms
from antiphon.algorithms.inputs import Needs, Outcomes, Scores
from antiphon.config import validate_settings
from antiphon.errors import ConfigError, did_you_mean

_SHARED = ("inputs", "terms", "policy_gradient")
"""Modules of the package that are no algorithm."""
_PROTOCOL = ("Settings", "needs", "advantages", "loss")


@dataclass(frozen=True)
class Objective:
    """An algorithm with its settings."""

    name: str
    module: ModuleType
    settings: Any

    @property
    def needs(self) -> Needs:
        return self.module.needs(self.settings)

    def advantages(self, outcomes: Outcomes) -> Tensor:
        """[P, G]"""
        return self.module.advantages(outcomes, self.settings)

    def loss(self, scores: Scores) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of one micro-batch, and metrics as weighted sums."""
        total, metrics = self.module.loss(scores, self.settings)
        return self.settings.weight * total, metrics


def algorithm_names() -> list[str]:
    """The built-in algorithms."""
    return sorted(one.name for one in pkgutil.iter_modules(algorithms.__path__) if one.name not in _SHARED)


def load_objectives(spec: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Objective]:
    """What a recipe's `algorithm:` names: modules of `antiphon.algorithms`, or by import path, settings checked."""
    listed = isinstance(spec, Sequence)
    specs = spec if listed else [spec]
    return [
        _load(dict(one), f"algorithm[{place}]" if listed else "algorithm")  # type: ignore[arg-type]
        for place, one in enumerate(specs)
    ]


def import_algorithm(name: str) -> ModuleType:
    """The module of an algorithm. Raises `ConfigError` when there is none, or it lacks part of the protocol."""
    own = "." in name
    if own and "" not in sys.path:
        sys.path.insert(0, "")
    known = algorithm_names()
    try:
        if not own and name not in known:
            raise ModuleNotFoundError(f"no module named antiphon.algorithms.{name}")
        module = importlib.import_module(name if own else f"antiphon.algorithms.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"unknown algorithm {name!r} ({error}); {did_you_mean(name, known)} (your own is written as "
            "package.module, looked for in the working folder too)"
        ) from error
    missing = [one for one in _PROTOCOL if not hasattr(module, one)]
    if missing:
        raise ConfigError(f"{name} is not an algorithm: it has no {', '.join(missing)} (docs/extend/algorithm.md)")
    return module


def recipe_defaults(spec: Any) -> dict[str, Any]:
    """Dotted keys of a recipe, and what an algorithm that is used alone would have them be: its `RECIPE`, if any.

    `spec` is what a recipe says of its algorithm, unchecked.
    """
    name = spec.get("name") if isinstance(spec, Mapping) else spec
    return getattr(import_algorithm(name), "RECIPE", {}) if isinstance(name, str) else {}


def _load(settings: dict[str, Any], key: str) -> Objective:
    name = settings.pop("name")
    module = import_algorithm(name)
    return Objective(name, module, validate_settings(module.Settings, settings, where="", prefix=key))


def combined_needs(objectives: Sequence[Objective]) -> Needs:
    """What all of them need together. Raises `ConfigError` when they want to learn from different completions."""
    needs = [objective.needs for objective in objectives]
    sources = {one.source for one in needs}
    if len(sources) > 1:
        raise ConfigError(
            f"'algorithm' sums {' and '.join(one.name for one in objectives)}, which learn from different completions "
            f"({', '.join(sorted(sources))}); summed losses share one rollout"
        )
    levels = [one.teacher for one in needs]
    teacher = "distributions" if "distributions" in levels else "logprobs" if "logprobs" in levels else None
    anything = {
        field.name: max(getattr(one, field.name) for one in needs)
        for field in fields(Needs)
        if field.type in ("bool", "int")
    }
    return Needs(**{**anything, "source": needs[0].source, "teacher": teacher})
