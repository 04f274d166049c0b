"""From a recipe's task to the function that makes prompts."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from antiphon.audio.cache import ClipCache
from antiphon.config import Config
from antiphon.data.examples import KNOWN_TASKS, WRITTEN_TASKS
from antiphon.errors import ConfigError, DataError
from antiphon.types import Example, Hertz, Prompt


def prompter(config: Config, rate: Hertz) -> Callable[[Example], Prompt]:
    """The function that turns an example into its prompt, its clip read at `rate` Hz."""
    try:
        task = importlib.import_module(f"antiphon.tasks.{config.task}")
        make = task.prompt
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"unknown task {config.task!r}; there are: {', '.join(KNOWN_TASKS)}") from error
    written = config.task in WRITTEN_TASKS
    if rate == 0 and not written:
        raise ConfigError(f"the model hears no audio, which task {config.task} is about; set task=text")
    clips = ClipCache(rate)

    def prompt(example: Example) -> Prompt:
        if written:
            return make(example, None, rate, config.language, config.context)
        if example.clip is None:
            raise DataError(f"example {example.id!r} has no audio, which task {config.task} needs")
        return make(example, clips.load(example.clip), rate, config.language, config.context)

    return prompt
