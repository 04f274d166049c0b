"""Decodes every clip of a data set and reports what it finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from antiphon.audio.decode import AudioInfo, FileClip
from antiphon.data.rows import BadRow, ReadOptions, place
from antiphon.data.source import read_set
from antiphon.data.validate import WORKERS, OnProgress, threaded
from antiphon.errors import AudioError
from antiphon.types import Clip, Example, Hertz, Seconds

_RATE: Hertz = 16000
"""The sample rate for synthetic clips."""


@dataclass(frozen=True)
class Distribution:
    """How a quantity is distributed over the rows."""

    min: float
    median: float
    mean: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution | None:
        """The distribution of `values`; None if there are none."""
        if not values:
            return None
        low, median, p95, high = np.percentile(values, [0, 50, 95, 100])
        return cls(float(low), float(median), float(np.mean(values)), float(p95), float(high))


@dataclass
class Report:
    """The result of `check`. Counts are of rows; a row in `bad` counts in `rows` only."""

    file: str
    rows: int = 0
    good: int = 0
    hours: float = 0.0
    durations: Distribution | None = None
    """Seconds."""
    rates: dict[Hertz, int] = field(default_factory=dict)
    """Like `channels` and `formats`, counts recordings only, not synthetic speech."""
    channels: dict[int, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    languages: dict[str, int] = field(default_factory=dict)
    """Like `speakers`, counts only rows that have one."""
    speakers: dict[str, int] = field(default_factory=dict)
    empty_texts: int = 0
    max_seconds: Seconds | None = None
    over_long: int | None = None
    """Clips longer than `max_seconds`; None without a limit."""
    notes: list[str] = field(default_factory=list)
    """Of rows that are used all the same: segments that are cut at the end of their file."""
    bad: list[BadRow] = field(default_factory=list)
    """In row order."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def check(
    spec: str | Path,
    options: ReadOptions | None = None,
    max_seconds: Seconds | None = None,
    *,
    on_progress: OnProgress | None = None,
    workers: int = WORKERS,
) -> Report:
    """Read a set and fully decode every clip, in `workers` threads.

    Rows without a text, if `options` allows them, count as `empty_texts`. Bad rows are in the report. Raises
    `DataError` if the set itself cannot be read and `ConfigError` for an unknown field in `options.columns`.
    """
    rows = read_set(spec, options)
    report = Report(rows.spec, rows=len(rows.examples) + len(rows.bad), max_seconds=max_seconds)
    unreadable: list[BadRow] = []
    good: list[Example] = []
    infos: list[AudioInfo] = []
    seconds: list[Seconds] = []
    scanned = threaded(_scan, rows.examples, workers, on_progress)
    for (example, found), line, number in zip(scanned, rows.lines, rows.numbers, strict=True):
        if isinstance(found, AudioError):
            unreadable.append(BadRow(line, example.id, str(found), number))
            continue
        good.append(example)
        if found is not None:
            info, length = found
            if info and isinstance(example.clip, FileClip) and (note := example.clip.note(info)):
                report.notes.append(f"{place(line)}: {note}")
            infos += [info] if info else []
            seconds.append(length)
    report.bad = rows.all_bad(unreadable)
    report.good = len(good)
    report.hours = sum(seconds) / 3600
    report.durations = Distribution.of(seconds)
    report.rates = _counts(info.rate for info in infos)
    report.channels = _counts(info.channels for info in infos)
    report.formats = _counts(info.format for info in infos)
    report.languages = _counts(example.language for example in good)
    report.speakers = _counts(example.speaker for example in good)
    report.empty_texts = sum(not example.text.strip() for example in good)
    if max_seconds is not None:
        report.over_long = sum(length > max_seconds for length in seconds)
    return report


def seconds_of(clip: Clip) -> Seconds:
    """The clip's length, from the header of a recording; other clips are synthesized. Raises `AudioError`."""
    return clip.seconds() if isinstance(clip, FileClip) else len(clip.load(_RATE)) / _RATE


def _scan(example: Example) -> tuple[AudioInfo | None, Seconds] | AudioError | None:
    """A recording's header and the clip's length; None for a row without audio."""
    clip = example.clip
    if clip is None:
        return None
    try:
        return clip.scan() if isinstance(clip, FileClip) else (None, seconds_of(clip))
    except AudioError as error:
        return error


def _counts(values: Iterator[Any]) -> dict[Any, int]:
    """Count each value, most frequent first, without None."""
    return dict(Counter(value for value in values if value is not None).most_common())
