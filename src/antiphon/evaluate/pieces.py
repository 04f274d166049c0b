"""Long recordings, piece by piece: split in their pauses, answered together, and stitched.

The server, `antiphon transcribe` and evaluation cut at the same places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from antiphon.audio.voice import no_speech_probability, split
from antiphon.config import Config
from antiphon.errors import ConfigError, ModelError
from antiphon.models.policy import Policy
from antiphon.tasks.asr import INSTRUCTION
from antiphon.tasks.task import Task
from antiphon.text.stitch import stitched
from antiphon.types import Answer, Completion, FinishReason, Hertz, Prompt, Seconds, Text

USUAL: Seconds = 30.0
"""Of a piece, where neither the user nor the model says how long it may be."""


@dataclass(frozen=True)
class Segment:
    """What was heard in a piece of a recording."""

    begin: Seconds
    end: Seconds
    text: str


class Spoken(NamedTuple):
    """A part of a recording to transcribe."""

    begin: int
    """Its first sample."""
    end: int
    """The sample after its last."""
    no_speech: float
    """How likely it is that there is no speech in it."""


def spoken_parts(
    waveform: np.ndarray, rate: Hertz, spans: Sequence[tuple[int, int]], least: float = 0.5
) -> list[Spoken]:
    """The parts of a recording, of those between the samples of `spans`, that speak with a probability above `least`.

    Recognizers make up words for silence and steady noise, so these are left out.
    """
    parts = [Spoken(begin, end, no_speech_probability(waveform[begin:end], rate)) for begin, end in spans]
    return [part for part in parts if 1 - part.no_speech > least]


def longest_piece(policy: Policy, wanted: Seconds | None = None) -> Seconds:
    """How long a piece may be: `wanted`, or what the model hears at once if that is less.

    By default the longest utterances it was trained on, if its configuration has `utterance_seconds`, or else 30 s. A
    model that does not transcribe gets a recording whole.
    """
    if policy.rate == 0 or not policy.transcribes:
        return math.inf
    longest = wanted or getattr(policy.model.config, "utterance_seconds", USUAL)
    longest = min(longest, policy.limits.longest(policy.rate) or longest)
    for seconds in (longest / 2**halvings for halvings in range(6)):
        silence = np.zeros(int(seconds * policy.rate), np.float32)
        try:
            policy.taken(Prompt("silence", silence, policy.rate, INSTRUCTION, transcribe=True))
            return seconds
        except ModelError:
            continue
    return longest


def piece_of(policy: Policy, task: Task, config: Config) -> Seconds | None:
    """How long a piece of a long clip may be where `data.long_audio` splits them, else None.

    Raises `ConfigError` for a task whose answers cannot be stitched.
    """
    if config.data.long_audio != "split":
        return None
    if not task.transcribes:
        raise ConfigError(
            f"'data.long_audio': only transcripts can be stitched, and the task {task.name} has other answers; "
            "set it to skip"
        )
    return longest_piece(policy)


@dataclass(frozen=True)
class Pieces:
    """A prompt whose clip is answered in pieces; a short one is a piece by itself."""

    prompt: Prompt
    prompts: tuple[Prompt, ...]
    spans: tuple[tuple[Seconds, Seconds], ...]

    @classmethod
    def of(cls, prompt: Prompt, longest: Seconds | None) -> Pieces:
        """Pieces of at most `longest` seconds; None leaves the clip whole."""
        waveform, rate = prompt.waveform, prompt.rate
        if longest is None or waveform is None or len(waveform) <= longest * rate:
            return cls(prompt, (prompt,), ((0.0, prompt.seconds),))
        parts = spoken_parts(waveform, rate, split(waveform, rate, longest))
        pieces = tuple(replace(prompt, waveform=waveform[part.begin : part.end]) for part in parts)
        return cls(prompt, pieces, tuple((part.begin / rate, part.end / rate) for part in parts))

    def joined(
        self, answers: Sequence[Answer], completions: Sequence[Completion]
    ) -> tuple[Answer, FinishReason, tuple[int, ...], tuple[Segment, ...]]:
        """The answer to all pieces, "length" if one was cut, the tokens of all, and their segments if several."""
        tokens = tuple(token for completion in completions for token in completion.token_ids)
        reason: FinishReason = "length" if any(one.finish_reason == "length" for one in completions) else "stop"
        if self.prompts and self.prompts[0] is self.prompt:
            return answers[0], reason, tokens, ()
        texts = [answer if isinstance(answer, Text) else Text("") for answer in answers]
        language = next((text.language for text in texts if text.language), None)
        rows = zip(self.spans, texts, strict=True)
        segments = tuple(Segment(begin, end, text.text) for (begin, end), text in rows if text.text)
        return Text(stitched([text.text for text in texts]), language), reason, tokens, segments
