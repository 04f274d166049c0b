"""Transcribes and scores a data set: the measures of its task with an interval, and the real-time factor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.evaluate.decode import Decode
from antiphon.evaluate.metrics import Utterance, measure, summarise, worst_first
from antiphon.models.policy import Policy
from antiphon.types import Example, FinishReason, Prompt, Seconds

IN_MEMORY = 256
"""Clips held decoded at once."""


@dataclass(frozen=True)
class Transcript:
    """What was recognised in one clip."""

    text: str
    seconds: Seconds
    finish_reason: FinishReason
    """"length" when the token limit cut it off."""
    language: str | None
    """The language that was forced, if any."""
    task: str


def transcribe(
    policy: Policy,
    decode: Decode,
    examples: Sequence[Example],
    prompt: Callable[[Example], Prompt],
    max_new_tokens: int,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[list[Transcript], Seconds]:
    """The transcripts, in order, and the time from waveforms in memory to texts."""
    transcripts: list[Transcript] = []
    spent = 0.0
    for start in range(0, len(examples), IN_MEMORY):
        prompts = [prompt(example) for example in examples[start : start + IN_MEMORY]]
        began = time.perf_counter()
        completions = decode(prompts, max_new_tokens)
        answers = [policy.answer(completion.text) for completion in completions]
        spent += time.perf_counter() - began
        for one, answer, completion in zip(prompts, answers, completions, strict=True):
            transcripts.append(Transcript(answer, one.seconds, completion.finish_reason, one.language, one.task))
        if on_progress:
            on_progress(len(transcripts))
    return transcripts, spent


def evaluate(
    policy: Policy,
    decode: Decode,
    examples: Sequence[Example],
    prompt: Callable[[Example], Prompt],
    max_new_tokens: int,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Any], list[Utterance]]:
    """The summary of `antiphon.evaluate.metrics.summarise` with `rtfx`, and the utterances worst first.

    `rtfx` is seconds of audio recognised per second of computation, reading and decoding of files left out.
    """
    transcripts, spent = transcribe(policy, decode, examples, prompt, max_new_tokens, on_progress)
    utterances = [
        measure(
            example.id,
            example.text,
            transcript.text,
            seconds=transcript.seconds,
            speaker=example.speaker,
            language=example.language or transcript.language,
            task=transcript.task,
        )
        for example, transcript in zip(examples, transcripts, strict=True)
    ]
    rtfx = sum(transcript.seconds for transcript in transcripts) / max(spent, 1e-9)
    return summarise(utterances) | {"rtfx": rtfx}, worst_first(utterances)
