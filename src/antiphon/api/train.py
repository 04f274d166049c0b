"""Training runs, configured by a model, a data set and a recipe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon.api.prepare import set_specs
from antiphon.config import Config, load_config
from antiphon.errors import ConfigError
from antiphon.runs.checkpoints import Checkpoint
from antiphon.runs.find import resolve
from antiphon.runs.folder import RunFolder

if TYPE_CHECKING:
    from antiphon.api.launch import LaunchedRun
    from antiphon.run.calibration import Calibration
    from antiphon.run.observers import Observer
    from antiphon.run.train import TrainResult

Name = str | os.PathLike[str]


class Recipe:
    """How to train: an algorithm or recipe file, a reward, and other settings.

    Args:
        name: An algorithm, such as `"grpo"` or `"raft"`, or the path of a YAML recipe. The library has no recipes but
            the algorithms' defaults; the repository has some in `recipes/`.
        reward: A built-in reward's name, `"file.py:function"`, a function itself, a mapping with `name`, `weight` and
            settings, or a list of those. Functions with the signatures of TRL, slime or verl work too.
        **overrides: Settings by recipe key: `optimizer={"lr": 1e-4}`, or `**{"optimizer.lr": 1e-4}`. Set `model`,
            `data.train`, `data.eval`, `output` and `name` in `TrainConfig`.

    Example:
        ```python
        Recipe("grpo", reward=my_reward, rollout={"group_size": 8}, train={"steps": 100}, seed=1)
        Recipe("recipes/whisper-grpo.yaml", optimizer={"lr": 1e-4})
        ```
    """

    def __init__(self, name: Name = "grpo", reward: Any = None, **overrides: Any) -> None:
        self.name, self.reward = os.fspath(name), reward
        self.settings = dict(_dotted(overrides))

    @property
    def file(self) -> Path | None:
        """The recipe's file, if it has one."""
        return Path(self.name) if self.name.endswith((".yaml", ".yml")) else None

    def __repr__(self) -> str:
        settings = (f"{key}={value!r}" for key, value in self.settings.items())
        return f"Recipe({', '.join([repr(self.name), *settings])})"


@dataclass
class TrainConfig:
    """A training run: model, data and recipe.

    Args:
        model: A hub id, a folder, a run, a `Checkpoint`, or `builtin:NAME`; None for the recipe's.
        dataset: A `MultimodalDataset`, a list of rows, a split of `datasets`, a JSONL file, `builtin:NAME` or
            `hf:REPO:CONFIG:SPLIT`; None for the recipe's.
        recipe: A `Recipe`, or its name.
        eval_dataset: Data to evaluate on before and after training: as for `dataset`, or a list of those. If it is the
            same object as `dataset`, its `prepare` writes the evaluation rows too.
        output: Parent folder of the run folders.
        name: Suffix of the run id; default: algorithm and model.
        track: Trackers to log to: `"tensorboard"`, `{"name": "wandb", "project": …}`, `"file.py:name"`, or a list of
            those; None for the recipe's.

    Example:
        ```python
        run = TrainConfig(model="Qwen/Qwen3-ASR-1.7B-hf", dataset=LibriSpeech(), recipe=Recipe("grpo")).train()
        print(run.training_run_id)
        ```
    """

    model: Name | None = None
    dataset: Any = None
    recipe: Recipe | Name = field(default_factory=Recipe)
    eval_dataset: Any = None
    output: Name = "runs"
    name: str | None = None
    track: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None

    def config(self) -> Config:
        """Build and validate the full recipe. Data sets that are not files are written below `output`.

        Raises:
            ConfigError: A setting is unknown, invalid, or given twice.
            DataError: A data set cannot be prepared.
        """
        from antiphon.train.objectives import recipe_defaults

        recipe = self._recipe()
        own = {"model": self.model and os.fspath(self.model), "output": os.fspath(self.output), "name": self.name}
        own |= self._sets() | {"track": self.track}
        settings = {key: value for key, value in own.items() if value is not None}
        twice = sorted(settings.keys() & recipe.settings.keys())
        if twice:
            raise ConfigError(f"'{twice[0]}' is set by TrainConfig and by its recipe; leave one out")
        if recipe.file is None:
            settings["algorithm"] = recipe.name
        if recipe.reward is not None:
            from antiphon.rewards.load import in_recipe

            settings["reward"] = in_recipe(recipe.reward)
        return load_config(recipe.file, settings | recipe.settings, defaults=recipe_defaults)

    def train(self, resume: str | None = None, quiet: bool = False) -> TrainResult:
        """Train in this process, to the end.

        Args:
            resume: A run to continue, as for `antiphon train --resume`; `"auto"` for the latest run of this recipe, if
                it is unfinished.
            quiet: Show no progress on stderr.

        Returns:
            The result: `.training_run_id`, `.run`, `.checkpoint`, `.before` and `.after` (metrics of each evaluation
            set), `.steps`, `.seconds`, and `.problems`, what went wrong in it.

        Raises:
            AntiphonError: Settings, data, model or reward do not fit, or the run failed.
        """
        from antiphon.run.train import train

        with _terminal(quiet) as observers:
            return train(self._to_run(resume), resume, observers, reward=self._recipe().reward)

    def calibrate(self, steps: int = 1, quiet: bool = False) -> Calibration:
        """Dry run: roll out and score the first steps without updates, to check that everything fits.

        Args:
            steps: Number of steps.
            quiet: Show no progress on stderr.

        Returns:
            `.metrics`, means over the steps, and `.seconds` of each phase. No run folder is created.

        Raises:
            AntiphonError: Settings, data, model, reward or teacher do not fit.
        """
        from antiphon.run.calibration import calibrate

        with _terminal(quiet) as observers:
            return calibrate(self.config(), steps, observers, self._recipe().reward)

    def launch(self, resume: str | None = None) -> LaunchedRun:
        """Train in a separate process and return immediately. The run continues if this process ends.

        Args:
            resume: A run to continue, by its id or path.

        Returns:
            A handle with `.done()`, `.checkpoints()`, `.result(timeout)` and `.stop()`.

        Raises:
            ConfigError: A setting is invalid, or another process cannot import the reward function.
            DataError: The data set cannot be prepared.
            RunError: There is no run to resume, or it trains another model.
        """
        from antiphon.api.launch import launch

        return launch(self._to_run(resume), self._recipe().reward, resume)

    def _to_run(self, resume: str | None) -> Config:
        """The configuration; a resumed run must have the same model and labels."""
        from antiphon.run.components import pinned
        from antiphon.run.resume import resumed_config

        config = self.config()
        if resume in (None, "auto"):
            return config
        return resumed_config(resume, {"output": config.output}, pinned(config).model_dump(mode="json"))

    def _recipe(self) -> Recipe:
        return self.recipe if isinstance(self.recipe, Recipe) else Recipe(self.recipe)

    def _sets(self) -> dict[str, Any]:
        """The settings that follow from the data sets."""
        from antiphon.api.datasets import MultimodalDataset

        output, dataset, evaluation = Path(self.output), self.dataset, self.eval_dataset
        if isinstance(dataset, MultimodalDataset) and evaluation is dataset:
            train, evaluation = set_specs(dataset, output, with_eval=True)
        else:
            train = None if dataset is None else set_specs(dataset, output)[0]
        several = isinstance(evaluation, list) and not all(isinstance(one, Mapping) for one in evaluation)
        listed = evaluation if several else [] if evaluation is None else [evaluation]
        written = isinstance(dataset, MultimodalDataset) and dataset.modality == "text"
        return {
            "data.train": train,
            "data.eval": [set_specs(one, output)[0] for one in listed] or None,
            "task": "text" if written else None,
        }


@contextmanager
def _terminal(quiet: bool) -> Iterator[list[Observer]]:
    """Observers that show a run's progress on stderr, unless quiet."""
    from antiphon.cli.progress import Terminal

    if quiet:
        yield []
        return
    with Terminal() as terminal:
        yield [terminal]


def list_checkpoints(run: Any, output: Name = "runs") -> list[Checkpoint]:
    """The complete checkpoints of a run, newest last.

    Args:
        run: A run's id, path or `"latest"`, its folder, the result of `TrainConfig.train`, or a launched run.
        output: Parent folder of the run folders, if `run` is an id.

    Returns:
        Checkpoints with `.step` and `.path`; each can be used as a `model`.

    Raises:
        RunError: The run does not exist.

    Example:
        ```python
        newest = list_checkpoints(result.training_run_id)[-1]
        ```
    """
    folder = getattr(run, "run", run)
    if not isinstance(folder, RunFolder):
        folder, _ = resolve(os.fspath(folder), Path(output))
    return folder.checkpoints.list()


def _dotted(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten settings to dotted keys; an empty mapping is a value."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
