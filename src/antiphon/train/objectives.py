"""The losses of a run: one algorithm, or several that are summed over the same completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from antiphon.algorithms.inputs import Needs, Outcomes, Scores
from antiphon.config import validate_settings
from antiphon.config.plugins import Kind
from antiphon.errors import ConfigError

ALGORITHM = Kind("algorithm", "antiphon.algorithms", offers=("Settings", "needs", "advantages", "loss"))


@dataclass(frozen=True)
class Objective:
    """An algorithm with its settings."""

    name: str
    module: Any
    """What has `needs`, `advantages` and `loss`."""
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


def load_objectives(spec: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Objective]:
    """What a recipe's `algorithm:` names: modules of `antiphon.algorithms`, or by import path, settings checked."""
    listed = isinstance(spec, Sequence)
    specs = spec if listed else [spec]
    return [
        _load(dict(one), f"algorithm[{place}]" if listed else "algorithm")  # type: ignore[arg-type]
        for place, one in enumerate(specs)
    ]


def recipe_defaults(spec: Any) -> dict[str, Any]:
    """Dotted keys of a recipe, and what an algorithm that is used alone would have them be: its `RECIPE`, if any.

    `spec` is what a recipe says of its algorithm, unchecked.
    """
    name = spec.get("name") if isinstance(spec, Mapping) else spec
    return getattr(ALGORITHM.load(name), "RECIPE", {}) if isinstance(name, str) else {}


def _load(settings: dict[str, Any], key: str) -> Objective:
    name = settings.pop("name")
    module = ALGORITHM.load(name)
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
