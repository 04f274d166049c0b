"""Whether rewards tell completions apart: a run in which they do not has nothing to learn from, and is told so."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

STEPS = 10
"""Steps in a row before anything is said."""
SHARE = 0.95
"""Share of groups without spread that counts as all of them."""


class SpreadWatch:
    """Told of every step; has something to say once, after `STEPS` in a row without spread or advantages."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._said = False

    def __call__(self, metrics: Mapping[str, float], advantages: Tensor) -> str | None:
        """The warning, if it is due. `advantages` are [N, A]; where they are not 0 although no group has spread, as
        against a greedy baseline, the step did teach something."""
        constant = metrics.get("zero_variance_share", 0.0) >= SHARE
        taught = float((advantages != 0).any(-1).float().mean())
        self._in_a_row = self._in_a_row + 1 if constant and taught <= 1 - SHARE else 0
        if self._said or self._in_a_row < STEPS:
            return None
        self._said = True
        return (
            f"in the last {STEPS} steps the completions of almost every group earned the same, so the rewards teach "
            "next to nothing; use data on which answers differ (harder where all are right, easier where all are "
            "wrong), raise rollout.temperature or rollout.group_size, set algorithm.dynamic_sampling (policy gradients "
            "have it), or use a reward with finer steps"
        )
