"""Training runs: a model, a data set and a recipe."""

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
    """How a model is trained: an algorithm or a recipe file, a reward, and settings of your own.

    Args:
        name: An algorithm, such as `"grpo"` or `"raft"`, or the path of a recipe in YAML. The library brings no
            recipes but the algorithms' defaults; those of the repository are in its folder `recipes/`.
        reward: A built-in reward's name, `"file.py:function"`, a function itself, a mapping with `name`, `weight` and
            settings, or a list of those. A function may have the signature of TRL, slime or verl.
        **overrides: Settings by their keys in a recipe: `optimizer={"lr": 1e-4}`, or `**{"optimizer.lr": 1e-4}`. The
            keys `model`, `data.train`, `data.eval`, `output` and `name` are those of `TrainConfig`.

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
        """The recipe's file, where it has one."""
        return Path(self.name) if self.name.endswith((".yaml", ".yml")) else None

    def __repr__(self) -> str:
        settings = (f"{key}={value!r}" for key, value in self.settings.items())
        return f"Recipe({', '.join([repr(self.name), *settings])})"


@dataclass
class TrainConfig:
    """What to train, on what, and how.

    Args:
        model: A hub id, a folder, a run, a `Checkpoint`, or `builtin:NAME`; None for the recipe's own.
        dataset: A `MultimodalDataset`, a list of rows, a split of `datasets`, a JSONL file, `builtin:NAME` or
            `hf:REPO:CONFIG:SPLIT`; None for the recipe's own.
        recipe: A `Recipe`, or its name.
        eval_dataset: What to measure the model on before and after: as for `dataset`, or a list of those. Where it is
            the very object that `dataset` is, that one's `prepare` is asked for rows of evaluation.
        output: Folder of the run folders.
        name: End of the run's id; algorithm and model by default.
        track: Trackers to log to: `"tensorboard"`, `{"name": "wandb", "project": …}`, `"file.py:name"`, or a list of
            those; None for the recipe's own.

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
        """The recipe in full, checked; a data set that is no file yet is prepared below `output`.

        Raises:
            ConfigError: A setting is unknown or wrong, or is given twice.
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
            resume: A run to continue, as `antiphon train --resume` takes it; `"auto"` for the latest of this very
                recipe, if it is unfinished.
            quiet: Show no progress on stderr.

        Returns:
            The result: `.training_run_id`, `.run`, `.checkpoint`, `.before` and `.after` (figures of each evaluation
            set), `.steps`, `.seconds`.

        Raises:
            AntiphonError: Settings, data, model or reward do not fit, or the run failed.
        """
        from antiphon.run.train import train

        with _terminal(quiet) as observers:
            return train(self._to_run(resume), resume, observers, reward=self._recipe().reward)

    def calibrate(self, steps: int = 1, quiet: bool = False) -> Calibration:
        """Roll out the first steps and score them, without learning from them: does everything fit?

        Args:
            steps: How many.
            quiet: Show no progress on stderr.

        Returns:
            `.metrics`, their means, and `.seconds`, those of each phase. No run folder is made.

        Raises:
            AntiphonError: Settings, data, model, reward or teacher do not fit.
        """
        from antiphon.run.calibration import calibrate

        with _terminal(quiet) as observers:
            return calibrate(self.config(), steps, observers, self._recipe().reward)

    def launch(self, resume: str | None = None) -> LaunchedRun:
        """Train in a process of its own, and return at once. It goes on when this process ends.

        Args:
            resume: A run to continue, by its id or path.

        Returns:
            A handle with `.done()`, `.checkpoints()`, `.result(timeout)` and `.stop()`.

        Raises:
            ConfigError: A setting is wrong, or the reward is a function that another process cannot import.
            DataError: The data set cannot be prepared.
            RunError: There is no run to resume, or it trains another model.
        """
        from antiphon.api.launch import launch

        return launch(self._to_run(resume), self._recipe().reward, resume)

    def _to_run(self, resume: str | None) -> Config:
        """The configuration; to continue a run, it may not be about another model or other labels."""
        from antiphon.run.components import pinned
        from antiphon.run.resume import resumed_config

        config = self.config()
        if resume in (None, "auto"):
            return config
        return resumed_config(resume, {"output": config.output}, pinned(config).model_dump(mode="json"))

    def _recipe(self) -> Recipe:
        return self.recipe if isinstance(self.recipe, Recipe) else Recipe(self.recipe)

    def _sets(self) -> dict[str, Any]:
        """The settings that the data sets make."""
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
    """What shows a run's progress on stderr, if anything."""
    from antiphon.cli.progress import Terminal

    if quiet:
        yield []
        return
    with Terminal() as terminal:
        yield [terminal]


def list_checkpoints(run: Any, output: Name = "runs") -> list[Checkpoint]:
    """The complete checkpoints of a run, the newest last.

    Args:
        run: A run's id, path or `"latest"`, its folder, what `TrainConfig.train` returned, or a launched run.
        output: Folder of the run folders, where `run` is an id.

    Returns:
        Checkpoints with `.step` and `.path`; each can be given as a `model`.

    Raises:
        RunError: There is no such run.

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
    """Each setting by its dotted key; an empty mapping is a value."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
