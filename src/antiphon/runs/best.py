"""Finds the best step of a run by its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.errors import ConfigError
from antiphon.tasks.summary import lower_is_better, main_column


def best_step(summaries: Sequence[Mapping[str, Any]], measure: str | None = None) -> int | None:
    """The step with the best value, the earliest if tied.

    Step 0, the model before training, is excluded: it has no checkpoint. None if no other step has a value.
    """
    trained = {step: value for step, value in _losses(summaries, measure).items() if step > 0}
    return min(trained, key=lambda step: (trained[step], step), default=None)


def evaluations_since_best(summaries: Sequence[Mapping[str, Any]], measure: str | None = None) -> int:
    """Number of evaluations since the last new best value, step 0 included."""
    losses = _losses(summaries, measure)
    ordered = [losses[step] for step in sorted(losses)]
    return len(ordered) - 1 - ordered.index(min(ordered)) if ordered else 0


def mean_by_step(summaries: Sequence[Mapping[str, Any]], measure: str | None = None) -> dict[int, float]:
    """The metric by step: of one set for `SET/MEASURE`, else the mean over the sets that have it.

    None means the task's main metric.
    """
    set_name, _, name = (measure or "").rpartition("/")
    name = name or main_column(*summaries).key
    chosen = [one for one in summaries if not set_name or one["set"] == set_name]
    by_step: dict[int, list[float]] = {}
    for one in chosen:
        if one.get(name) is not None:
            by_step.setdefault(one["step"], []).append(one[name])
    return {step: sum(values) / len(values) for step, values in by_step.items()}


def require_measure(summaries: Sequence[Mapping[str, Any]], measure: str | None) -> None:
    """Raises `ConfigError` if there are evaluations, but none has the set and metric of `eval.best`."""
    if measure is None or not summaries or mean_by_step(summaries, measure):
        return
    sets = sorted({one["set"] for one in summaries})
    there = sorted({key for one in summaries for key, value in one.items() if type(value) in (int, float)} - {"step"})
    raise ConfigError(
        f"'eval.best' is {measure!r}, which no evaluation has; give MEASURE or SET/MEASURE, "
        f"of the sets {', '.join(sets)} and the measures {', '.join(there)}"
    )


def _losses(summaries: Sequence[Mapping[str, Any]], measure: str | None) -> dict[int, float]:
    """Like `mean_by_step`, with signs such that lower is better."""
    name = (measure or main_column(*summaries).key).rpartition("/")[2]
    sign = 1 if lower_is_better(summaries, name) else -1
    return {step: sign * value for step, value in mean_by_step(summaries, measure).items()}
