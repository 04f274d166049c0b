"""Sweeps: a training run for each combination of settings."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon.api.launch import LaunchedRun
from antiphon.api.train import Recipe, TrainConfig
from antiphon.config import Config
from antiphon.errors import AntiphonError, ConfigError
from antiphon.runs.best import mean_by_step
from antiphon.runs.find import list_runs
from antiphon.runs.folder import RunFolder
from antiphon.tasks.summary import lower_is_better, main_column
from antiphon.types import Seconds

if TYPE_CHECKING:
    from antiphon.run.train import TrainResult

POLL: Seconds = 0.5


@dataclass(frozen=True)
class SweepRow:
    """One combination of a sweep.

    Attributes:
        settings: The settings of this run.
        run: The run's folder; None if training failed before creating it.
        value: The metric after the last step; None if training failed.
        error: Why it failed.
    """

    settings: Mapping[str, Any]
    run: RunFolder | None = None
    value: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep; prints as a table.

    Attributes:
        rows: The combinations, best first, failed ones last.
        metric: The metric they are sorted by.
    """

    rows: Sequence[SweepRow]
    metric: str

    @property
    def best(self) -> SweepRow:
        """The best combination. Raises `ConfigError` if all failed."""
        if self.rows[0].value is None:
            raise ConfigError(f"no run of the sweep has a {self.metric}; the first failed: {self.rows[0].error}")
        return self.rows[0]

    def __str__(self) -> str:
        lines = [[*self.rows[0].settings, self.metric, "run", ""], *(_cells(row) for row in self.rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


@dataclass
class TrainingGroup:
    """A sweep over a grid of settings.

    Args:
        base: The settings that all runs share. Needs an `eval_dataset` to compare them on.
        grid: The values of each setting, by dotted key. They override the base's.
        metric: `MEASURE` or `SET/MEASURE`, as for `eval.best`; default: WER, or accuracy if there is no WER.

    Example:
        ```python
        base = TrainConfig("builtin:student", "train.jsonl", Recipe("grpo"), eval_dataset="dev.jsonl")
        print(TrainingGroup(base, grid={"optimizer.lr": [1e-4, 3e-4], "rollout.group_size": [4, 8]}).run(parallel=2))
        ```
    """

    base: TrainConfig
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    metric: str | None = None

    def configs(self) -> list[tuple[dict[str, Any], TrainConfig]]:
        """Each combination of the grid with its configuration.

        Raises:
            ConfigError: The grid has no values.
        """
        empty = [key for key, values in self.grid.items() if isinstance(values, str) or not list(values)]
        if empty or not self.grid:
            raise ConfigError(f"the grid has no values{f' of {empty[0]}' if empty else ''}; give a list for each key")
        combined = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        return [(settings, self._config(settings)) for settings in combined]

    def run(self, parallel: int = 1, quiet: bool = False) -> SweepResult:
        """Train every combination and compare them.

        A run in the base's `output` with the same recipe as a combination is reused: a finished one as it is, an
        unfinished one by resuming it. So the same call continues after an interruption. A failed run is a row of
        the table, and the others continue.

        Args:
            parallel: Number of concurrent runs, each in its own process; 1 trains in this process. On a CPU, set the
                recipe's `threads`, or they compete for cores.
            quiet: Show no progress.

        Returns:
            The table, best first.

        Raises:
            ConfigError: A setting is invalid, `eval_dataset` is missing, or with `parallel` another process cannot
                import the reward.
        """
        planned = [_Planned(settings, config, config.config()) for settings, config in self.configs()]
        if not all(one.recipe.data.eval and one.recipe.eval.after for one in planned):
            raise ConfigError("a sweep compares runs by evaluation; give its base an eval_dataset")
        known = list_runs(Path(self.base.output))
        for one in planned:
            one.find(known)
        todo = [one for one in planned if not one.finished]
        if parallel > 1:
            _train_beside(todo, parallel)
        else:
            for one in todo:
                one.train(quiet)
        return self._compared(planned)

    def _config(self, settings: Mapping[str, Any]) -> TrainConfig:
        base = self.base.recipe if isinstance(self.base.recipe, Recipe) else Recipe(self.base.recipe)
        name = "-".join([*filter(None, [self.base.name]), *(_word(key, value) for key, value in settings.items())])
        recipe = Recipe(base.name, base.reward, **{**base.settings, **settings})
        return replace(self.base, name=name, recipe=recipe)

    def _compared(self, planned: Sequence[_Planned]) -> SweepResult:
        summaries = [one for run in planned if run.folder for one in run.folder.evals()]
        metric = self.metric or main_column(*summaries).key
        sign = 1 if lower_is_better(summaries, metric.rpartition("/")[2]) else -1
        rows = [one.row(metric) for one in planned]
        return SweepResult(sorted(rows, key=lambda row: (row.value is None, sign * (row.value or 0.0))), metric)


class _Planned:
    """One combination in progress."""

    def __init__(self, settings: dict[str, Any], config: TrainConfig, recipe: Config) -> None:
        self.settings, self.config, self.recipe = settings, config, recipe
        self.folder: RunFolder | None = None
        self.error: str | None = None

    @property
    def finished(self) -> bool:
        return self.folder is not None and self.folder.status.seen_state in ("finished", "stopped")

    @property
    def resume(self) -> str | None:
        return str(self.folder.path) if self.folder else None

    def find(self, known: Sequence[RunFolder]) -> None:
        """Look for a run of the same recipe, in any state."""
        from antiphon.run.components import pinned

        wanted = pinned(self.recipe)
        self.folder = next((folder for folder in known if _config_of(folder) == wanted), None)

    def train(self, quiet: bool) -> None:
        self._keep(lambda: self.config.train(self.resume, quiet))

    def collect(self, launched: LaunchedRun) -> None:
        self._keep(launched.result)

    def _keep(self, result: Callable[[], TrainResult]) -> None:
        try:
            self.folder = result().run
        except AntiphonError as error:
            self.error = str(error)
            self.find(list_runs(Path(self.recipe.output)))

    def row(self, metric: str) -> SweepRow:
        if self.error is not None or self.folder is None:
            return SweepRow(self.settings, self.folder, None, self.error)
        return SweepRow(
            self.settings, self.folder, mean_by_step(self.folder.evals(), metric).get(self.folder.status.step)
        )


def _train_beside(todo: Sequence[_Planned], parallel: int) -> None:
    """Train each in its own process, `parallel` at a time; an interruption stops them."""
    waiting = iter(todo)
    running: dict[_Planned, LaunchedRun] = {}
    try:
        while True:
            while len(running) < parallel and (one := next(waiting, None)):
                running[one] = one.config.launch(one.resume)
            if not running:
                return
            for one in [one for one, launched in running.items() if launched.done()]:
                one.collect(running.pop(one))
            time.sleep(POLL)
    finally:
        for launched in running.values():
            launched.stop()


def _config_of(folder: RunFolder) -> Config | None:
    """The run's recipe; None if it is damaged, as such a run cannot be resumed."""
    try:
        return folder.config
    except AntiphonError:
        return None


def _word(key: str, value: Any) -> str:
    """A setting as part of a run's name: `lr-0.0001`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{key.rpartition('.')[2]}-{value}").strip("-.")


def _cells(row: SweepRow) -> list[str]:
    value = "failed" if row.value is None else f"{row.value:.4f}"
    return [*(str(one) for one in row.settings.values()), value, row.run.id if row.run else "–", row.error or ""]
