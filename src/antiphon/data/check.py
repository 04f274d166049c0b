"""Decodes every clip of a data set and reports what it finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from antiphon.audio.decode import FileClip
from antiphon.data.arrow import pc
from antiphon.data.indexed import select, strings
from antiphon.data.rows import BadRow, ReadOptions, Rows, place
from antiphon.data.scans import OnProgress, scan_all
from antiphon.data.source import read_set
from antiphon.data.warnings import Warned, leaks, warn
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
    columns: dict[str, str] = field(default_factory=dict)
    """Which column served which field."""
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
    against: list[str] = field(default_factory=list)
    """Sets that must not have the same clips."""
    warnings: list[Warned] = field(default_factory=list)
    """In row order."""
    good: int = 0
    bad: list[BadRow] = field(default_factory=list)
    """In row order."""
    seconds: Seconds = 0.0
    """Of audio, of the good rows."""
    format: str = ""
    """The reader of the set."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def check(
    spec: str | Path,
    options: ReadOptions | None = None,
    max_seconds: Seconds | None = None,
    *,
    against: Sequence[str | Path] = (),
    fault: Callable[[Example, Seconds | None], str | None] | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Read a set and fully decode every clip.

    Rows without a text, if `options` allows them, count as `empty_texts`. `fault` says why an example, whose clip has
    so many seconds, is bad for another reason, such as a model's limits. Bad rows are in the report, and so are rows
    with a doubt (`antiphon.data.warnings`), such as a clip that a set of `against` has too. Raises `DataError` if a
    set itself cannot be read and `ConfigError` for an unknown field in `options.columns`.
    """
    rows = read_set(spec, options)
    scans = scan_all(rows.examples, rows.spec, on_progress=on_progress)
    faulty = np.array(pc.is_valid(scans["fault"]))
    unreadable = [
        BadRow(rows.lines[at], rows.examples[at].id, scans["fault"][at].as_py(), rows.numbers[at])
        for at in np.flatnonzero(faulty).tolist()
    ]
    if fault is not None:
        unreadable += _further(rows, scans, faulty, fault)
    kept = np.flatnonzero(~faulty)
    report = Report(rows.spec, len(rows.examples) + len(rows.bad), rows.columns, max_seconds=max_seconds)
    report.bad, report.format = rows.all_bad(unreadable), rows.format
    noted = np.flatnonzero(np.asarray(pc.is_valid(scans["note"]))).tolist()
    report.notes = [f"{place(rows.lines[at])}: {scans['note'][at].as_py()}" for at in noted]
    report.against = [str(one) for one in against]
    good = Rows(rows.spec, select(rows.examples, kept), [rows.lines[at] for at in kept.tolist()])
    scans = scans.take(pa.array(kept))
    _describe(report, good.examples, scans)
    report.warnings = warn(good.examples, scans, good.lines)
    for other in against:
        report.warnings += _leaked(good, scans, str(other), options)
    return report


def _further(
    rows: Rows, scans: pa.Table, faulty: np.ndarray, fault: Callable[[Example, Seconds | None], str | None]
) -> list[BadRow]:
    """The rows, of those that are not `faulty`, that `fault` finds fault with; they are so afterward."""
    lengths, bad = scans["seconds"].to_pylist(), []
    for at, example in enumerate(rows.examples):
        reason = None if faulty[at] else fault(example, lengths[at])
        if reason is not None:
            faulty[at] = True
            bad.append(BadRow(rows.lines[at], example.id, reason, rows.numbers[at]))
    return bad


def _describe(report: Report, examples: Sequence[Example], scans: pa.Table) -> None:
    report.good = len(examples)
    lengths = scans["seconds"].drop_null().to_pylist()
    report.seconds = sum(lengths)
    report.hours = report.seconds / 3600
    report.durations = Distribution.of(lengths)
    report.rates, report.channels = _counts(scans["rate"]), _counts(scans["channels"])
    report.formats = _counts(scans["format"])
    report.languages = _counts(strings(examples, "language"))
    report.speakers = _counts(strings(examples, "speaker"))
    report.empty_texts = pc.sum(pc.equal(pc.utf8_trim_whitespace(strings(examples, "text")), "")).as_py() or 0
    if report.max_seconds is not None:
        report.over_long = sum(length > report.max_seconds for length in lengths)


def _leaked(rows: Rows, scans: pa.Table, other: str, options: ReadOptions | None) -> list[Warned]:
    """Rows with the clip of a set that is held out."""
    held_out = read_set(other, options)
    found = leaks(rows.examples, scans, held_out.examples, scan_all(held_out.examples, held_out.spec))
    return [
        Warned(rows.lines[at], rows.examples[at].id, "leak", f"{other} has the same sound; remove one of the rows")
        for at in np.flatnonzero(found).tolist()
    ]


def seconds_of(clip: Clip) -> Seconds:
    """The clip's length, from the header of a recording; other clips are synthesized. Raises `AudioError`."""
    return clip.seconds() if isinstance(clip, FileClip) else len(clip.load(_RATE)) / _RATE


def _counts(values: pa.ChunkedArray) -> dict[Any, int]:
    """Count each value, most frequent first, without null."""
    return dict(Counter(values.drop_null().to_pylist()).most_common())
