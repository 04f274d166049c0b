"""The losses of a run: one algorithm, or several that are summed over the same completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import count
from typing import Any

from torch import Tensor

from antiphon.algorithms.inputs import MERGE, Needs, Outcomes, Scores
from antiphon.config import validate_settings
from antiphon.config.plugins import Kind
from antiphon.errors import ConfigError

ALGORITHM = Kind("algorithm", "antiphon.algorithms", offers=("Settings", "needs", "advantages", "loss"))


@dataclass(frozen=True)
class Objective:
    """An algorithm with its settings."""

    name: str
    module: Any
    """A module with `needs`, `advantages` and `loss`."""
    settings: Any

    @property
    def needs(self) -> Needs:
        return self.module.needs(self.settings)

    def advantages(self, outcomes: Outcomes) -> Tensor:
        """Advantages [P, G] of completions."""
        return self.module.advantages(outcomes, self.settings)

    def loss(self, scores: Scores) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one micro-batch times the algorithm's `weight`, and metrics, all as weighted sums."""
        total, metrics = self.module.loss(scores, self.settings)
        return self.settings.weight * total, metrics


def load_objectives(spec: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Objective]:
    """The algorithms of a recipe's `algorithm:`, built-in or the user's, with checked settings.

    Raises `ConfigError` for an unknown algorithm or setting.
    """
    listed = isinstance(spec, Sequence)
    specs = spec if listed else [spec]
    return [
        _load(dict(one), f"algorithm[{place}]" if listed else "algorithm")  # type: ignore[arg-type]
        for place, one in enumerate(specs)
    ]


def recipe_defaults(spec: Any) -> dict[str, Any]:
    """Recipe defaults, by dotted key, of an algorithm that is used alone: its `RECIPE`, if any.

    `spec` is the recipe's unchecked `algorithm:`.
    """
    name = spec.get("name") if isinstance(spec, Mapping) else spec
    return getattr(ALGORITHM.load(name), "RECIPE", {}) if isinstance(name, str) else {}


def _load(settings: dict[str, Any], key: str) -> Objective:
    name = settings.pop("name")
    module = ALGORITHM.load(name)
    return Objective(name, module, validate_settings(module.Settings, settings, where="", prefix=key))


def combined_needs(objectives: Sequence[Objective]) -> Needs:
    """The merged needs of all losses, field by field as `Needs` declares.

    Raises `ConfigError` if they cannot share a field, such as different completions, and `TypeError` if a field of
    `Needs` does not declare how losses share it.
    """
    needs, merged = [objective.needs for objective in objectives], {}
    for field in fields(needs[0]):
        if MERGE not in field.metadata:
            raise TypeError(f"Needs.{field.name} does not say how summed losses share it; declare it with `_merged`")
        try:
            merged[field.name] = field.metadata[MERGE]([getattr(one, field.name) for one in needs])
        except ValueError as error:
            names = " and ".join(objective.name for objective in objectives)
            raise ConfigError(f"'algorithm' sums {names}, which {error}; summed losses share one rollout") from error
    return type(needs[0])(**merged)


def metric_prefixes(objectives: Sequence[Objective]) -> list[str]:
    """The prefix of each loss's metrics: empty for a single loss; `opd/`, `opd_2/`, … in a sum."""
    prefixes: list[str] = []
    for objective in objectives:
        named = (objective.name if n == 1 else f"{objective.name}_{n}" for n in count(1))
        prefixes.append(next(f"{name}/" for name in named if f"{name}/" not in prefixes))
    return prefixes if len(prefixes) > 1 else [""]


def weights_in_sum(objectives: Sequence[Objective]) -> list[float]:
    """The weight of each loss in the sum; 1 for a single loss."""
    return [1.0] if len(objectives) == 1 else [objective.settings.weight for objective in objectives]


def joint_advantages(objectives: Sequence[Objective], advantages: Tensor) -> Tensor:
    """[N, A] weighted sum of the losses' advantages [N, A, O]."""
    first, *rest = (w * one for w, one in zip(weights_in_sum(objectives), advantages.unbind(-1), strict=True))
    return sum(rest, first)
