"""Transcribes a recording, split at pauses if it is long; segments are transcribed together and joined."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from antiphon.audio.voice import runs, split
from antiphon.evaluate.pieces import Spoken, spoken_parts
from antiphon.models.policy import Sampling
from antiphon.models.word_times import Word, spread
from antiphon.serve.errors import RequestError
from antiphon.serve.forms import ServerVad
from antiphon.serve.job import LEAST, Job
from antiphon.serve.languages import spoken
from antiphon.serve.question import Question
from antiphon.serve.service import Service
from antiphon.tasks.asr import INSTRUCTION
from antiphon.tasks.asr import task as RECOGNITION
from antiphon.tasks.task import words_of
from antiphon.text.stitch import stitched
from antiphon.text.tags import may_open_tags
from antiphon.types import Completion, Prompt, Seconds, Text

SHORTEST: Seconds = 0.1
"""Shorter recordings are refused, as by OpenAI."""
LONGEST = 256
"""Tokens of a segment's transcript, where the client sets no limit."""


@dataclass(frozen=True)
class TranscriptionOptions:
    """A client's options for a transcript."""

    language: str | None = None
    context: str = ""
    temperature: float = 0.0
    max_new_tokens: int | None = None
    """Maximum per segment; by default `LONGEST`, or what the model has room for."""
    vad: ServerVad | None = None
    """How to split at pauses; by default only recordings that are long for the model."""
    translate: bool = False
    words: bool = False
    """Tell when each word was said."""


def options_of(
    service: Service,
    language: str | None = None,
    prompt: str = "",
    temperature: float = 0.0,
    max_new_tokens: int | None = None,
    vad: ServerVad | None = None,
    translate: bool = False,
    words: bool = False,
) -> TranscriptionOptions:
    """The options of a request. Raises `RequestError` 400 for those that the model does not support."""
    if words and not service.words:
        message = (
            f"{service.name} does not tell when words were said; start the server with --aligner, or ask for segments"
        )
        raise RequestError(400, message, "timestamp_granularities[]")
    if translate and not (service.policy.transcribes and service.policy.limits.translates):
        raise RequestError(400, f"{service.name} does not translate; use /v1/audio/transcriptions", "model")
    if service.policy.rate and language and "language" not in service.accepts:
        raise RequestError(400, f"{service.name} cannot be told a language; leave it out", "language")
    if service.policy.rate and prompt and "prompt" not in service.accepts:
        raise RequestError(400, f"{service.name} takes no prompt; leave it out", "prompt")
    if max_new_tokens and not service.policy.stepwise:
        raise RequestError(
            400, f"{service.name} does not generate tokens one by one; leave out max_new_tokens", "max_new_tokens"
        )
    return TranscriptionOptions(language, prompt, temperature, max_new_tokens, vad, translate, words)


@dataclass(frozen=True)
class Segment:
    """A segment of a recording."""

    start: Seconds
    end: Seconds
    text: str
    language: str | None
    completion: Completion
    no_speech: float
    """How likely it is that there is no speech in it."""
    words: list[Word]
    """With times from the beginning of the recording; without any, if they were not asked for."""

    @property
    def mean_logprob(self) -> float:
        """Mean per token, or of the whole sequence if that is one action."""
        return sum(self.completion.logprobs) / max(len(self.completion.logprobs), 1)

    @property
    def compression_ratio(self) -> float:
        """Compression ratio of the text; high if the model repeats itself."""
        raw = self.text.encode()
        return len(raw) / len(zlib.compress(raw))


class Transcription:
    """A transcription in progress. The segments are submitted to the worker at creation."""

    def __init__(
        self,
        service: Service,
        waveform: np.ndarray,
        options: TranscriptionOptions,
        spoken: Sequence[Spoken],
        streams: bool = False,
    ) -> None:
        """`waveform` [samples] is at the model's rate, `spoken` its parts to transcribe. Use `begun`."""
        self.service, self.options, self.rate = service, options, service.policy.rate
        self.seconds: Seconds = len(waveform) / self.rate
        self.segments: list[Segment] = []
        self._spoken = spoken
        self._jobs = [self._ask(waveform[one.begin : one.end], streams) for one in spoken]

    @classmethod
    async def begun(
        cls, service: Service, waveform: np.ndarray, options: TranscriptionOptions, streams: bool = False
    ) -> Transcription:
        """Raises `RequestError` 400 for a recording of less than `SHORTEST`."""
        if len(waveform) < SHORTEST * service.policy.rate:
            message = f"Audio file is too short. Minimum audio length is {SHORTEST} seconds."
            raise RequestError(400, message, "file", "audio_too_short")
        spoken = await asyncio.to_thread(_spoken, service, waveform, options.vad)
        return cls(service, waveform, options, spoken, streams)

    def _ask(self, piece: np.ndarray, streams: bool) -> Job:
        options = self.options
        prompt = Prompt(
            "the recording",
            piece,
            self.rate,
            INSTRUCTION,
            options.context,
            options.language,
            transcribe=True,
            translate=options.translate,
        )
        most = options.max_new_tokens
        sampling = Sampling(options.temperature, most or LONGEST, shorten=most is None)
        return self.service.ask(Question(prompt), sampling, streams=streams, words=options.words)

    async def whole(self) -> str:
        """Wait for the transcript; `segments` are available afterward."""
        async for _ in self.texts():
            pass
        return self.text

    @property
    def text(self) -> str:
        return stitched([segment.text for segment in self.segments])

    async def texts(self) -> AsyncIterator[str]:
        """Yields the transcript so far; each text extends the previous one, if the model allows."""
        try:
            for job, part in zip(self._jobs, self._spoken, strict=True):
                before = [segment.text for segment in self.segments]
                async for _ in job.steps():
                    if not job.ended:
                        yield stitched([*before, self._so_far(job)])
                self._close(job, part)
                yield self.text
        finally:
            for job in self._jobs:
                job.cancel()

    def _so_far(self, job: Job) -> str:
        """The part of a partial answer that further tokens cannot change."""
        text = self.service.decoded(job.rows[0].token_ids).rstrip("\ufffd")
        begun = self.service.policy.render_begun(text, job.question.prompt)
        return "" if may_open_tags(begun) else begun

    def _close(self, job: Job, part: Spoken) -> None:
        completion = job.completions[0]
        answer = self.service.policy.render(completion, job.question.prompt)
        said, language = words_of(RECOGNITION.read(answer)), answer.language if isinstance(answer, Text) else None
        self.service.metrics.completion_tokens.inc(len(completion.token_ids))
        start, end = part.begin / self.rate, part.end / self.rate
        times = job.word_times[0] if job.word_times else []
        words = [Word(word.text, start + word.start, start + word.end) for word in times]
        self.segments.append(Segment(start, end, said, language, completion, part.no_speech, words))

    @property
    def words(self) -> list[Word]:
        """All words. Without times of their own, those of a segment share its time by their lengths."""
        return [word for one in self.segments for word in one.words or spread(one.text.split(), one.start, one.end)]

    def verbose(self) -> dict[str, Any]:
        """OpenAI's `verbose_json`."""
        languages = [segment.language for segment in self.segments if segment.language]
        return {
            "task": "translate" if self.options.translate else "transcribe",
            "language": "english"
            if self.options.translate
            else spoken(self.options.language or next(iter(languages), None)),
            "duration": round(self.seconds, 3),
            "text": self.text,
            "segments": [self._row(i, segment) for i, segment in enumerate(self.segments)],
            "usage": self.usage,
        } | ({"words": [_word(one) for one in self.words]} if self.options.words else {})

    @property
    def usage(self) -> dict[str, Any]:
        """Whole seconds, rounded up as OpenAI does; litellm refuses fractions."""
        return {"type": "duration", "seconds": math.ceil(self.seconds)}

    @property
    def token_usage(self) -> dict[str, Any]:
        """What streamed answers tell, in OpenAI's format."""
        read = sum(job.size for job in self._jobs)
        written = sum(len(segment.completion.token_ids) for segment in self.segments)
        return {"type": "tokens", "input_tokens": read, "output_tokens": written, "total_tokens": read + written}

    @property
    def logprobs(self) -> list[dict[str, Any]]:
        """OpenAI's `logprobs`: of the tokens of the transcript, without the model's framing and stop token."""
        return [row for segment in self.segments for row in self._logprobs(segment)]

    def _logprobs(self, segment: Segment) -> list[dict[str, Any]]:
        completion = segment.completion
        pieces = self.service.pieces(completion.token_ids)
        first = len(pieces)
        while first and segment.text not in "".join(pieces[first:]):
            first -= 1
        rows = zip(pieces[first:], completion.logprobs[first:], strict=True)
        stopped = completion.finish_reason == "stop"
        told = [{"token": text, "logprob": max(one, LEAST), "bytes": list(text.encode())} for text, one in rows]
        return told[: len(told) - stopped]

    def _row(self, i: int, segment: Segment) -> dict[str, Any]:
        return {
            "id": i,
            "seek": round(100 * segment.start),
            "start": round(segment.start, 3),
            "end": round(segment.end, 3),
            "text": segment.text,
            "tokens": list(segment.completion.token_ids),
            "temperature": self.options.temperature,
            "avg_logprob": segment.mean_logprob,
            "compression_ratio": segment.compression_ratio,
            "no_speech_prob": round(segment.no_speech, 4),
            "finish_reason": segment.completion.finish_reason,
        }


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}


def _spoken(service: Service, waveform: np.ndarray, vad: ServerVad | None) -> list[Spoken]:
    """The parts to transcribe; of a model that does not transcribe, the whole."""
    if not service.policy.transcribes:
        return [Spoken(0, len(waveform), 0.0)]
    rate, least = service.policy.rate, vad.threshold if vad else 0.5
    if vad:
        spans = runs(waveform, rate, service.piece_s, vad.silence_duration_ms / 1000, vad.prefix_padding_ms / 1000)
    else:
        spans = split(waveform, rate, service.piece_s)
    return spoken_parts(waveform, rate, spans, least)
