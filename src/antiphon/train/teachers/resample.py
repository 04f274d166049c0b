"""The student's clips as a teacher hears them: as they were recorded, at the teacher's sampling rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import soxr

from antiphon.train.batch import Batch
from antiphon.types import Hertz, Prompt


class ClipResampler:
    """Resamples each clip of a step once."""

    def __init__(self, rate: Hertz) -> None:
        self.rate = rate
        self._resampled: dict[int, Prompt] = {}

    def resample(self, batch: Batch) -> Batch:
        """A step's rollout with its clips at this rate, not augmented; those of earlier steps are dropped."""
        self._resampled = {id(prompt): resampled(prompt.unaugmented(), self.rate) for prompt in batch.prompts}
        return replace(batch, prompts=self.prompts(batch.prompts))

    def prompts(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The resampled versions of these prompt objects, from the last `resample`."""
        return [self._resampled[id(prompt)] for prompt in prompts]


def resampled(prompt: Prompt, rate: Hertz) -> Prompt:
    """`prompt` with its waveform at `rate` Hz (soxr's HQ)."""
    if prompt.waveform is None or prompt.rate == rate:
        return prompt
    return replace(prompt, waveform=soxr.resample(prompt.waveform, prompt.rate, rate), rate=rate)
