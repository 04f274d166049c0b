"""Greedy transcription of 64 clips of 1 to 20 s against transformers in batches of 32: seconds of audio a second.

Ours is `InProcessEngine.greedy`, which takes the clips in whatever order and portions it chooses.

The standard side is transformers' processor, `generate` and `batch_decode`, a batch of 32 clips at a time: in the
random order that the clips come in (`ratio`), and sorted by length (`ratio_sorted`).

Both sides start from waveforms in memory at each round and end with texts. The random-weight models hear noise and
write 32 tokens a clip, as nothing ends them; the preset `teacher` hears speech and stops by itself. `same_tokens` is
the share of clips for which the standard side writes the same tokens as ours.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from random_models import QWEN, RATE, noise, policy_that_never_stops, recognizer
from side_by_side import OURS, STANDARD, Seconds, alternate, conclude, parse, peak_mb, report_peak, timed

from antiphon.data.corpora.sets import builtin_set
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.load import load_policy
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.types import Prompt

BATCH = 32
SORTED = "standard sorted"
Tokens = list[tuple[int, ...]]


@dataclass(frozen=True)
class Work:
    """A model, and what it is to transcribe."""

    model: str
    speech: bool
    clips: int = 64
    longest: float = 20.0
    tokens: int = 32

    def load(self, device: torch.device, dtype: torch.dtype) -> AudioPrefixLM:
        if not self.speech:
            return policy_that_never_stops(*recognizer(self.model, device, dtype))
        policy = load_policy(self.model, device, dtype, block_tokens=[])
        assert isinstance(policy, AudioPrefixLM)
        return policy

    def prompts(self) -> list[Prompt]:
        lengths = np.random.default_rng(0).uniform(1.0, self.longest, self.clips)
        make = spoken if self.speech else noise
        return [make(f"clip {i}", float(length)) for i, length in enumerate(lengths)]


PRESETS = {
    "tiny": Work("tiny", speech=False, clips=5, longest=2.0, tokens=4),
    "small": Work("small", speech=False),
    "teacher": Work("builtin:teacher", speech=True, tokens=96),
    QWEN: Work(QWEN, speech=False),
}


def spoken(name: str, seconds: float) -> Prompt:
    """Utterances of a built-in test set, one after the other, as long as they fit into `seconds`; one at least."""
    examples = builtin_set("commands-clean")
    order = iter(np.random.default_rng(list(name.encode())).permutation(len(examples)))
    waves = [examples[next(order)].clip.load(RATE)]
    while sum(map(len, waves)) + len(following := examples[next(order)].clip.load(RATE)) <= seconds * RATE:
        waves.append(following)
    waveform = np.concatenate(waves)
    return Prompt(name, waveform[: len(waveform) // 160 * 160], RATE)


class Transcription:
    """One model and one set of clips, transcribed either way."""

    def __init__(self, work: Work, arguments: argparse.Namespace) -> None:
        self.work, self.device, self.dtype = work, arguments.device, arguments.dtype
        self.policy = work.load(self.device, self.dtype)
        self.engine = InProcessEngine(self.policy)
        self.prompts = work.prompts()
        self.stops = sorted(self.policy.stop_ids)

    @property
    def audio_seconds(self) -> float:
        return sum(prompt.seconds for prompt in self.prompts)

    def ours(self) -> Tokens:
        # As new objects, or the features of the round before would be found.
        prompts = [replace(prompt) for prompt in self.prompts]
        return [one.token_ids for one in self.engine.greedy(prompts, self.work.tokens)]

    @torch.no_grad()
    def standard(self, by_length: bool) -> Tokens:
        order = list(range(len(self.prompts)))
        if by_length:
            order.sort(key=lambda i: -self.prompts[i].seconds)
        tokens: dict[int, tuple[int, ...]] = {}
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            tokens.update(zip(batch, self._batch([self.prompts[i].waveform for i in batch]), strict=True))
        return [tokens[i] for i in range(len(order))]

    def _batch(self, waves: Sequence[Any]) -> Tokens:
        processor = self.policy.processor
        inputs = processor.apply_transcription_request(waves).to(self.device, self.dtype)
        ids = self.policy.model.generate(
            **inputs,
            max_new_tokens=self.work.tokens,
            do_sample=False,
            eos_token_id=self.stops or None,
            suppress_tokens=[self.policy.audio_token],
        )
        written = ids[:, inputs["input_ids"].shape[1] :]
        processor.batch_decode(written, skip_special_tokens=True)
        return [self._until_stop(row) for row in written.tolist()]

    def _until_stop(self, row: Sequence[int]) -> tuple[int, ...]:
        end = next((i + 1 for i, token in enumerate(row) if token in self.stops), len(row))
        return tuple(row[:end])

    def round(self, side: str, number: int) -> Seconds:
        seconds: Seconds = {}
        with timed(seconds, "transcribe", self.device):
            self.transcribe(side)
        return seconds

    def transcribe(self, side: str) -> Tokens:
        return self.ours() if side == OURS else self.standard(by_length=side == SORTED)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(__doc__, PRESETS, "small", argv)
    both = Transcription(PRESETS[arguments.preset], arguments)
    if arguments.memory_of:
        both.transcribe(arguments.memory_of)
        return report_peak(arguments.device)
    sides = (OURS, STANDARD, SORTED)
    medians = alternate({side: partial(both.round, side) for side in sides}, arguments.rounds)
    seconds = {side: medians[side]["total"] for side in sides}
    tokens = {side: both.transcribe(side) for side in sides}
    peaks = {side: peak_mb(__file__, arguments, side) for side in (OURS, STANDARD)}
    conclude(
        {
            "ratio": seconds[STANDARD] / seconds[OURS],
            "ratio_sorted": seconds[SORTED] / seconds[OURS],
            "memory_ratio": peaks[STANDARD] / peaks[OURS],
            "rtfx": {side: both.audio_seconds / seconds[side] for side in sides},
            "same_tokens": {
                side: sum(map(tuple.__eq__, tokens[side], tokens[OURS])) / len(both.prompts) for side in sides[1:]
            },
            "audio_seconds": both.audio_seconds,
            "tokens": sum(map(len, tokens[OURS])),
            "peak_mb": peaks,
        },
        arguments,
    )


if __name__ == "__main__":
    main()
