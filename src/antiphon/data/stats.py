"""The text side of a dataset: how much is said, how fast, in which words, by whom."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antiphon.data.check import Spread, seconds_of
from antiphon.data.rows import BadRow, ReadOptions
from antiphon.data.source import read_set
from antiphon.data.validate import WORKERS, threaded
from antiphon.errors import AudioError
from antiphon.text.alignment import units
from antiphon.text.normalize import normalizer
from antiphon.types import Example, Seconds

_COMMON_WORDS = 20
NOT_GIVEN = "(not given)"
"""The group of the rows that state no speaker or language."""


@dataclass
class Share:
    """What one speaker or one language contributes."""

    utterances: int
    hours: float
    words: int
    words_per_second: float


@dataclass
class Stats:
    """What `stats` found. Words are as WER counts them: normalized, and characters in unspaced scripts."""

    file: str
    utterances: int = 0
    hours: float = 0.0
    words: int = 0
    chars: int = 0
    """Characters of the texts as written, spaces included."""
    durations: Spread | None = None
    """Seconds."""
    words_per_utterance: Spread | None = None
    chars_per_utterance: Spread | None = None
    words_per_second: float = 0.0
    """All words over all seconds, pauses included."""
    empty_texts: int = 0
    vocabulary: int = 0
    """Distinct words."""
    common_words: dict[str, int] = field(default_factory=dict)
    """The most frequent, with their counts."""
    speakers: dict[str, Share] = field(default_factory=dict)
    languages: dict[str, Share] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    """Rows in no count, in their order; as only headers are read, damaged audio is not among them."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Utterance:
    example: Example
    seconds: Seconds
    words: list[str]


def stats(spec: str | Path, options: ReadOptions | None = None) -> Stats:
    """Statistics of a set's texts and of its clips' lengths, those of recordings by their headers.

    Raises `DataError` when the set itself cannot be read and `ConfigError` for an unknown field in `options.columns`.
    """
    rows = read_set(spec, options)
    unreadable: list[BadRow] = []
    said: list[_Utterance] = []
    for example, seconds in threaded(_seconds, rows.examples, WORKERS):
        if isinstance(seconds, AudioError):
            unreadable.append(BadRow(rows.lines[example.id], example.id, str(seconds)))
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
        durations=Spread.of([utterance.seconds for utterance in said if utterance.example.clip]),
        words_per_utterance=Spread.of([len(utterance.words) for utterance in said]),
        chars_per_utterance=Spread.of([len(utterance.example.text) for utterance in said]),
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
    """The share of each name, the one with most utterances first."""
    groups: dict[str, list[_Utterance]] = defaultdict(list)
    for name, utterance in said:
        groups[name or NOT_GIVEN].append(utterance)
    return {name: _share(groups[name]) for name in sorted(groups, key=lambda name: -len(groups[name]))}


def _share(said: list[_Utterance]) -> Share:
    seconds = sum(utterance.seconds for utterance in said)
    words = sum(len(utterance.words) for utterance in said)
    return Share(len(said), seconds / 3600, words, words / seconds if seconds else 0.0)
