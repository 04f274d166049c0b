"""The first steps of a recipe without learning from them: does everything fit, and what would be learned?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from antiphon.config import Config
from antiphon.distributed import environment
from antiphon.distributed.device import prepare_cpu
from antiphon.errors import ConfigError
from antiphon.rewards.load import RewardSpec
from antiphon.run.components import Components, pinned
from antiphon.run.loop import calibrate_step
from antiphon.run.observers import Observer, Observers


@dataclass(frozen=True)
class Calibration:
    """What the first steps would learn from."""

    steps: int
    metrics: dict[str, float]
    """Means over the steps; of those called …_max the largest."""
    seconds: dict[str, float]
    """Mean wall-clock time of each phase."""


def calibrate(
    config: Config, steps: int = 1, observers: Sequence[Observer] = (), reward: RewardSpec | None = None
) -> Calibration:
    """Load a recipe's components, roll out its first `steps` and score them: no update, and no run folder.

    `reward` stands in place of the recipe's, as in `antiphon.run.train.train`.

    Raises what `train` would: for settings, data and models that do not fit, and where too little is aligned.
    """
    if environment.size() > 1:
        raise ConfigError("--calibrate works in one process; start it without torchrun")
    told = Observers(observers)
    config = pinned(config)
    prepare_cpu(config.threads)
    components = Components(config, config.model, told, reward)
    told.phase("calibrating", steps)
    measured: dict[str, list[float]] = defaultdict(list)
    timed: dict[str, list[float]] = defaultdict(list)
    try:
        for step in range(steps):
            metrics, seconds = calibrate_step(step, components.collector, components.trainer)
            for kept, found in ((measured, metrics), (timed, seconds)):
                for name, value in found.items():
                    kept[name].append(value)
            told.advance(step + 1)
    finally:
        components.stream.close()
    summary = {name: max(of) if name.endswith("_max") else fmean(of) for name, of in measured.items()}
    return Calibration(steps, summary, {name: fmean(of) for name, of in timed.items()})
