"""What the policy hears of an example in an epoch, where a recipe augments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from antiphon.audio.augmentation import Augmentation
from antiphon.config import Config
from antiphon.errors import ConfigError
from antiphon.tasks.load import find_task
from antiphon.types import Example, Hertz, Prompt, Seconds

Fits = Callable[[Example, Seconds], bool]
"""Whether the model takes an example whose clip has another length."""


class Augmenter:
    """Augments prompts. What becomes of one depends on the seed, the example's id and the epoch alone, so neither on
    the number of ranks nor on whether the run was resumed."""

    def __init__(self, augmentation: Augmentation, seed: int, others_hear_it: bool, fits: Fits) -> None:
        self._augmentation, self._seed, self._others_hear_it, self._fits = augmentation, seed, others_hear_it, fits

    def __call__(self, example: Example, prompt: Prompt, epoch: int) -> Prompt:
        """The prompt as the policy hears it in `epoch` (from 0); it keeps the clip as it is for others."""
        if prompt.waveform is None:
            return prompt
        digest = int.from_bytes(hashlib.sha256(example.id.encode()).digest()[:8], "big")
        rng = np.random.default_rng([self._seed, digest, epoch])
        heard = self._augmentation(prompt.waveform, rng, lambda seconds: self._fits(example, seconds))
        return replace(prompt, waveform=heard, clean=None if self._others_hear_it else prompt.waveform)


def load_augmenter(config: Config, rate: Hertz, fits: Fits = lambda *_: True) -> Augmenter | None:
    """The recipe's augmentation of clips at `rate`, None if it has none.

    Raises `ConfigError` for a task that hears nothing, and for files of noise that are not there.
    """
    settings = config.data.augment
    if settings is None:
        return None
    if "audio" not in find_task(config.task).fields:
        raise ConfigError(f"'data.augment' changes audio, and the task {config.task} hears none; leave it out")
    return Augmenter(Augmentation(settings, rate), config.seed, settings.others_hear_it, fits)
