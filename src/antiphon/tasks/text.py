"""Text to text: answer a written prompt, without audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from antiphon.errors import DataError
from antiphon.tasks.classify import ACCURACY, accuracy
from antiphon.tasks.columns import REWARD
from antiphon.tasks.request import asked
from antiphon.tasks.task import Answered, Clean, Row, Task
from antiphon.tasks.words import count_words
from antiphon.types import Example, Hertz, Prompt


class Written(Task):
    """Measured by accuracy, or by the run's reward where that is another than `exact`."""

    name = "text"
    fields = ("prompt",)
    reward = None
    columns = (ACCURACY,)

    def prompt(
        self, example: Example, waveform: np.ndarray | None, rate: Hertz, language: str = "auto", context: str = ""
    ) -> Prompt:
        """The example's `prompt` or conversation as the request; no language is forced.

        Raises `DataError` if the example has neither.
        """
        prompt = asked(Prompt(example.id, None, rate, "", context), example)
        if not prompt.instruction:
            raise DataError(f'example {example.id!r} has no "prompt", the text to answer; add the column')
        return prompt

    def measure(self, answered: Answered, clean: Clean) -> Row:
        return count_words(self, answered, clean)

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return accuracy(rows)

    def measured_by(self, reward: str | None) -> str:
        return super().measured_by(reward) if reward in (None, "exact") else REWARD.key


task = Written()
