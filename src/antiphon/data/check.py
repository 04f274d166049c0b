"""Every clip of a dataset decoded before anything rests on it: the report, and the gate before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from antiphon.audio.decode import AudioInfo, FileClip
from antiphon.data.jsonl import BadRow, describe_bad, read_jsonl
from antiphon.errors import AudioError, DataError
from antiphon.types import Example, Hertz, Seconds

_WORKERS = 2
_BATCH = 1024
"""Clips handed to the threads at a time."""

Item = TypeVar("Item")
Result = TypeVar("Result")
OnProgress = Callable[[int], None]
"""Called with the number of clips read so far."""


@dataclass(frozen=True)
class Spread:
    """How a quantity is distributed over the rows."""

    min: float
    median: float
    mean: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None when there are no values."""
        if not values:
            return None
        low, median, p95, high = np.percentile(values, [0, 50, 95, 100])
        return cls(float(low), float(median), float(np.mean(values)), float(p95), float(high))


@dataclass
class Report:
    """What `check` found. Counts are of rows; rows in `bad` are in no other count than `rows`."""

    file: str
    rows: int = 0
    good: int = 0
    hours: float = 0.0
    durations: Spread | None = None
    """Seconds."""
    rates: dict[Hertz, int] = field(default_factory=dict)
    channels: dict[int, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    languages: dict[str, int] = field(default_factory=dict)
    """Rows that state none are left out; so too for `speakers`."""
    speakers: dict[str, int] = field(default_factory=dict)
    empty_texts: int = 0
    max_seconds: Seconds | None = None
    over_long: int | None = None
    """Clips longer than `max_seconds`; None without a limit."""
    bad: list[BadRow] = field(default_factory=list)
    """In line order."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def check(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    max_seconds: Seconds | None = None,
    *,
    task: str = "asr",
    text_required: bool = True,
    on_progress: OnProgress | None = None,
    workers: int = _WORKERS,
) -> Report:
    """Read a JSONL file and decode every clip of it fully, in `workers` threads.

    `task` is that of the rows which name none. Without `text_required` a row may leave its text out, as audio may that
    a teacher is to judge or transcribe; such rows count among `empty_texts`. Raises `DataError` when the file itself
    cannot be read and `ConfigError` for an unknown field in `columns`; bad rows are in the report.
    """
    rows = read_jsonl(path, columns, task, text_required=text_required)
    report = Report(str(path), rows=len(rows.examples) + len(rows.bad), bad=rows.bad, max_seconds=max_seconds)
    good: list[Example] = []
    infos: list[AudioInfo] = []
    seconds: list[Seconds] = []
    for example, found in _threaded(_scan, rows.examples, workers, on_progress):
        if isinstance(found, AudioError):
            report.bad.append(BadRow(rows.lines[example.id], example.id, str(found)))
            continue
        good.append(example)
        if found is not None:
            infos.append(found[0])
            seconds.append(found[1])
    report.bad.sort(key=lambda row: row.line or 0)
    report.good = len(good)
    report.hours = sum(seconds) / 3600
    report.durations = Spread.of(seconds)
    report.rates = _counts(info.rate for info in infos)
    report.channels = _counts(info.channels for info in infos)
    report.formats = _counts(info.format for info in infos)
    report.languages = _counts(example.language for example in good)
    report.speakers = _counts(example.speaker for example in good)
    report.empty_texts = sum(not example.text.strip() for example in good)
    if max_seconds is not None:
        report.over_long = sum(length > max_seconds for length in seconds)
    return report


def validate(
    examples: Sequence[Example],
    max_seconds: Seconds,
    min_seconds: Seconds = 0.0,
    on_bad_audio: Literal["error", "skip"] = "error",
    *,
    lines: Mapping[str, int] | None = None,
    source: str = "the data",
    on_progress: OnProgress | None = None,
    workers: int = _WORKERS,
) -> tuple[list[Example], list[BadRow]]:
    """Decode every file clip and hold its length against the limits: the examples kept, and the rows skipped.

    Clips are never cut. Examples whose clip is no file (synthetic speech, or none) are kept unread. `lines`
    gives the line of an example by its id (`JsonlRows.lines`) and `source` the file's name, both for
    messages.

    Raises `DataError`, which lists the first bad rows, when there are any and `on_bad_audio` is "error", and
    in either case when no example is left.
    """
    kept: list[Example] = []
    bad: list[BadRow] = []
    line_of = lines or {}
    for example, fault in _threaded(
        lambda example: _fault(example, min_seconds, max_seconds), examples, workers, on_progress
    ):
        if fault is None:
            kept.append(example)
        else:
            bad.append(BadRow(line_of.get(example.id), example.id, fault))
    if bad and on_bad_audio == "error":
        raise DataError(
            describe_bad(bad, source, len(examples))
            + "\nCorrect or remove them, or leave them out with data.on_bad_audio: skip"
        )
    if bad and not kept:
        raise DataError(describe_bad(bad, source, len(examples)) + "\nNo example is left; correct the data")
    return kept, bad


def _scan(example: Example) -> tuple[AudioInfo, Seconds] | AudioError | None:
    """None for a row without audio."""
    if example.clip is None:
        return None
    assert isinstance(example.clip, FileClip), "JSONL rows have file clips"
    try:
        return example.clip.scan()
    except AudioError as error:
        return error


def _fault(example: Example, min_seconds: Seconds, max_seconds: Seconds) -> str | None:
    """Why the clip cannot be trained on, by its header first: an over-long clip is not decoded."""
    clip = example.clip
    if not isinstance(clip, FileClip):
        return None
    try:
        seconds = clip.seconds()
        if seconds > max_seconds:
            return (
                f"{clip.name} is {seconds:.6g} s, longer than data.max_seconds={max_seconds:g}; "
                "split it, raise the limit or set data.on_bad_audio: skip"
            )
        if seconds < min_seconds:
            return (
                f"{clip.name} is {seconds:.6g} s, shorter than data.min_seconds={min_seconds:g}; "
                "remove it, lower the limit or set data.on_bad_audio: skip"
            )
        clip.scan()
    except AudioError as error:
        return str(error)
    return None


def _threaded(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, on_progress: OnProgress | None
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order; libsndfile decodes outside the interpreter lock."""
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            for item, result in zip(batch, pool.map(function, batch), strict=True):
                done += 1
                if on_progress:
                    on_progress(done)
                yield item, result


def _counts(values: Iterator[Any]) -> dict[Any, int]:
    """How often each value occurs, most frequent first; None is left out."""
    return dict(Counter(value for value in values if value is not None).most_common())
