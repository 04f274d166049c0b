"""Statistics of a data set's texts: amount of speech, speaking rate, vocabulary, speakers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antiphon.data.check import Distribution, seconds_of
from antiphon.data.rows import BadRow, ReadOptions
from antiphon.data.source import read_set
from antiphon.data.workers import cores, threaded
from antiphon.errors import AudioError
from antiphon.text.alignment import units
from antiphon.text.normalize import normalizer
from antiphon.types import Example, Seconds

_COMMON_WORDS = 20
NOT_GIVEN = "(not given)"
"""Group of rows without a speaker or language."""


@dataclass
class Share:
    """Totals of one speaker or language."""

    utterances: int
    hours: float
    words: int
    words_per_second: float


@dataclass
class Stats:
    """The result of `stats`. Words are the units of WER: normalized, and characters in scripts without spaces."""

    file: str
    utterances: int = 0
    hours: float = 0.0
    words: int = 0
    chars: int = 0
    """Characters of the texts as written, spaces included."""
    durations: Distribution | None = None
    """Seconds."""
    words_per_utterance: Distribution | None = None
    chars_per_utterance: Distribution | None = None
    words_per_second: float = 0.0
    """Words per second of audio, pauses included."""
    empty_texts: int = 0
    vocabulary: int = 0
    """Distinct words."""
    common_words: dict[str, int] = field(default_factory=dict)
    """The most frequent words, with counts."""
    speakers: dict[str, Share] = field(default_factory=dict)
    languages: dict[str, Share] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    """Rows left out of all counts, in row order. Only headers are read, so damaged audio is not found."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Utterance:
    example: Example
    seconds: Seconds
    words: list[str]


def stats(spec: str | Path, options: ReadOptions | None = None) -> Stats:
    """Compute statistics of a set's texts and clip lengths, the latter from the recordings' headers.

    Raises `DataError` if the set itself cannot be read and `ConfigError` for an unknown field in `options.columns`.
    """
    rows = read_set(spec, options)
    unreadable: list[BadRow] = []
    said: list[_Utterance] = []
    timed = threaded(_seconds, rows.examples, cores())
    for example, seconds, line, number in zip(rows.examples, timed, rows.lines, rows.numbers, strict=True):
        if isinstance(seconds, AudioError):
            unreadable.append(BadRow(line, example.id, str(seconds), number))
            continue
        words = units(normalizer(example.language)(example.text))
        said.append(_Utterance(example, seconds, words))
    vocabulary = Counter(word for utterance in said for word in utterance.words)
    whole = _share(said)
    return Stats(
        file=rows.spec,
        utterances=whole.utterances,
        hours=whole.hours,
        words=whole.words,
        chars=sum(len(utterance.example.text) for utterance in said),
        durations=Distribution.of([utterance.seconds for utterance in said if utterance.example.clip]),
        words_per_utterance=Distribution.of([len(utterance.words) for utterance in said]),
        chars_per_utterance=Distribution.of([len(utterance.example.text) for utterance in said]),
        words_per_second=whole.words_per_second,
        empty_texts=sum(not utterance.example.text.strip() for utterance in said),
        vocabulary=len(vocabulary),
        common_words=dict(vocabulary.most_common(_COMMON_WORDS)),
        speakers=_shares((utterance.example.speaker, utterance) for utterance in said),
        languages=_shares((utterance.example.language, utterance) for utterance in said),
        bad=rows.all_bad(unreadable),
    )


def _seconds(example: Example) -> Seconds | AudioError:
    try:
        return seconds_of(example.clip) if example.clip else 0.0
    except AudioError as error:
        return error


def _shares(said: Iterable[tuple[str | None, _Utterance]]) -> dict[str, Share]:
    """Totals by name, most utterances first."""
    groups: dict[str, list[_Utterance]] = defaultdict(list)
    for name, utterance in said:
        groups[name or NOT_GIVEN].append(utterance)
    return {name: _share(groups[name]) for name in sorted(groups, key=lambda name: -len(groups[name]))}


def _share(said: list[_Utterance]) -> Share:
    seconds = sum(utterance.seconds for utterance in said)
    words = sum(len(utterance.words) for utterance in said)
    return Share(len(said), seconds / 3600, words, words / seconds if seconds else 0.0)
