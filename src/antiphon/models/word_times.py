"""When each word was said: by a model's own means, or by aligning its text with another model, an aligner.

CTC models align a text to their frames (`ctc_alignment`), Whisper by its cross-attention (`cross_attention`). Other
models say nothing of times; a CTC model can align their transcripts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import soxr

from antiphon.audio.voice import FRAME, speech_frames
from antiphon.models.policy import Policy
from antiphon.text.stitch import is_unspaced
from antiphon.types import Completion, Hertz, Prompt, Seconds, Text


class Word(NamedTuple):
    """A word, and its time from the beginning of its clip."""

    text: str
    start: Seconds
    end: Seconds


@runtime_checkable
class TimesWords(Protocol):
    """A model that knows when the words of its transcripts were said."""

    times_words: bool
    """Whether this one of its family does."""

    def word_times(self, prompt: Prompt, completion: Completion) -> list[Word]:
        """The words of `completion`, a transcript of the prompt's clip, in order."""
        ...


class Aligner(Protocol):
    """A model that aligns any text to a clip."""

    @property
    def rate(self) -> Hertz: ...

    def align(self, prompt: Prompt, words: Sequence[str]) -> list[Word]:
        """The times of `words`, which were said in the prompt's clip in this order."""
        ...


WordTimer = Callable[[Prompt, Completion], list[Word]]


def word_timer(policy: Policy, aligner: Aligner | None) -> WordTimer | None:
    """What tells the times of the words of the model's transcripts: the aligner, if there is one, or the model
    itself; None if nothing does. Their borders are moved to those of speech (`snapped`)."""
    own = policy.word_times if isinstance(policy, TimesWords) and policy.times_words else None
    timer = _aligned(policy, aligner) if aligner and policy.transcribes and policy.token_level else own
    if timer is None:
        return None

    def timed(prompt: Prompt, completion: Completion) -> list[Word]:
        assert prompt.waveform is not None
        return snapped(timer(prompt, completion), speech_frames(prompt.waveform, prompt.rate))

    return timed


def snapped(words: Sequence[Word], spoken: np.ndarray) -> list[Word]:
    """`words` without the silence at their borders, and with the speech before them that is no other word's.

    Cross-attention gives the pause before a word to the word, and CTC models emit a word's first label late. `spoken`
    [frames] says which frames of `FRAME` are speech.
    """
    found: list[Word] = []
    for word in words:
        first, last = round(word.start / FRAME), max(round(word.end / FRAME), round(word.start / FRAME) + 1)
        earliest = round(found[-1].end / FRAME) if found else 0
        own = np.flatnonzero(spoken[first:last])
        if len(own):
            begin, end = first + int(own[0]), first + int(own[-1]) + 1
            while begin == first > earliest and spoken[first - 1]:
                first = begin = first - 1
            word = Word(word.text, begin * FRAME, end * FRAME)
        found.append(word)
    return found


def _aligned(policy: Policy, aligner: Aligner) -> WordTimer:
    def aligned(prompt: Prompt, completion: Completion) -> list[Word]:
        answer = policy.render(completion, prompt)
        assert prompt.waveform is not None
        words = answer.text.split() if isinstance(answer, Text) else []
        waveform = soxr.resample(prompt.waveform, prompt.rate, aligner.rate).astype(np.float32)
        return aligner.align(Prompt(prompt.id, waveform, aligner.rate, transcribe=True), words) if words else []

    return aligned


def by_word(pieces: Sequence[str], starts: Sequence[Seconds]) -> list[Word]:
    """The words that `pieces` [T], the texts of tokens, make up: a space, or a script without spaces, begins one.

    `starts` [T + 1] are the tokens' beginnings, the stop token's last; a word lasts until the next one begins.
    """
    words: list[Word] = []
    opened = True
    for piece, start, end in zip(pieces, starts, starts[1:], strict=False):
        text = piece.strip()
        if text and (opened or piece[0].isspace() or is_unspaced(text[0])):
            words.append(Word(text, start, end))
        elif text:
            words[-1] = Word(words[-1].text + text, words[-1].start, end)
        opened = (opened and not text) or piece.endswith((" ", "\n"))
    return words


def interpolated(words: Sequence[str], times: Sequence[tuple[Seconds, Seconds] | None], end: Seconds) -> list[Word]:
    """`words` with their `times` in a clip of `end` seconds; those without any share the time between their
    neighbors, by their lengths."""
    found: list[Word] = []
    for known, run in groupby(zip(words, times, strict=True), key=lambda pair: pair[1] is not None):
        pairs = list(run)
        if known:
            found += [Word(text, *own) for text, own in pairs if own is not None]
        else:
            after = next((own for own in times[len(found) + len(pairs) :] if own is not None), (end, end))
            found += spread([text for text, _ in pairs], found[-1].end if found else 0.0, after[0])
    return found


def spread(words: Sequence[str], start: Seconds, end: Seconds) -> list[Word]:
    """`words` that share the time from `start` to `end` by their lengths."""
    share = np.cumsum([0, *map(len, words)]) / max(sum(map(len, words)), 1)
    borders = (start + (max(end, start) - start) * share).tolist()
    return [Word(*one) for one in zip(words, borders, borders[1:], strict=False)]
