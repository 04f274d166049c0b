"""Finds tasks by name, and makes the prompts of a recipe's task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from antiphon.audio.cache import ClipCache
from antiphon.config import Config
from antiphon.config.plugins import Kind
from antiphon.errors import ConfigError, DataError
from antiphon.tasks.request import READS, without
from antiphon.tasks.task import Task
from antiphon.types import Clip, Example, Hertz, Prompt, Seconds, Words

KIND = Kind("task", "antiphon.tasks", ("prompt", "read", "measure", "columns"), attribute="task")


@cache
def built_in_tasks() -> tuple[Task, ...]:
    """The tasks of this package: each module that has a `task`."""
    return tuple(KIND.load(name) for name in KIND.names())


def task_names() -> list[str]:
    return [task.name for task in built_in_tasks()]


def find_task(spec: str) -> Task:
    """The built-in task `spec`, or the user's task (object or class) at `package.module:name` or `file.py:name`.

    Raises `ConfigError` with the nearest name if there is no such task.
    """
    found = next((task for task in built_in_tasks() if task.name == spec), None) or KIND.load(spec, "task")
    task = found() if isinstance(found, type) else found
    if not task.columns:
        raise ConfigError(f"the task {spec!r} has no columns; give it at least the column of its main metric")
    task.name = task.name or spec
    return task


def fitting_task(hears: bool) -> Task:
    """The built-in task to try a model with: transcription where it hears audio, else one that reads none."""
    return next(task for task in built_in_tasks() if (task.transcribes if hears else "audio" not in task.fields))


def task_of_row(row: Mapping[str, Any]) -> Task:
    """The task of an evaluation's row; a base `Task` if it is not a built-in one."""
    return next((task for task in built_in_tasks() if task.name == row.get("task")), Task())


class Prompter:
    """Makes a recipe's prompts from examples, with clips at `rate` Hz."""

    def __init__(
        self, config: Config, rate: Hertz, language: str | None = None, reads: Collection[Words] = READS
    ) -> None:
        """`language` is the only one that the model writes, where it has one: then it is that of all its prompts.
        A row's own context and hot words are left out unless the model `reads` a context.

        Raises `ConfigError` for an unknown task, and for an audio task with a text model (`rate` 0).
        """
        self.task = find_task(config.task)
        asked = language if language and config.language == "auto" else config.language
        self._asked = (asked, config.context)
        self._reads, self._rate, self._clips = reads, rate, ClipCache(rate)
        if rate == 0 and "audio" in self.task.fields:
            raise ConfigError(f"task {config.task} has audio prompts, but the model takes only text; set task=text")

    def __call__(self, example: Example) -> Prompt:
        return self._of(example, self._clips.load)

    def silent(self, example: Example, seconds: Seconds) -> Prompt:
        """The example's prompt with silence in place of its clip, which is not read."""
        samples = max(round(seconds * self._rate), 1)
        return self._of(example, lambda clip: np.zeros(samples, np.float32))

    def _of(self, example: Example, load: Callable[[Clip], np.ndarray]) -> Prompt:
        if "audio" not in self.task.fields:
            return self.task.prompt(example, None, self._rate, *self._asked)
        if example.clip is None:
            raise DataError(f"example {example.id!r} has no audio, which task {self.task.name} needs")
        prompt = self.task.prompt(example, load(example.clip), self._rate, *self._asked)
        _, unread_context = without(example.columns, self._reads)
        return replace(prompt, context=self._asked[1]) if unread_context else prompt


prompter = Prompter
