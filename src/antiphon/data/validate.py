"""Checks data before training and evaluation: decodes every clip once and checks its length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from antiphon.data.arrow import pc
from antiphon.data.indexed import select
from antiphon.data.rows import BadRow, Line, describe_bad
from antiphon.data.scans import OnProgress, scan_all, unknown
from antiphon.errors import DataError
from antiphon.types import Example, Seconds

OnBadAudio = Literal["error", "skip"]
Keep = Callable[[Sequence[Example], pa.Table], np.ndarray]
"""Gives the places of the examples to look at, in ascending order, of examples and their scans."""


@dataclass(frozen=True)
class Checked:
    """Examples whose clips can be used."""

    examples: Sequence[Example]
    scans: pa.Table
    """A row for each example (`antiphon.data.scans.SCHEMA`); of synthetic speech, all null."""
    skipped: list[BadRow]

    def select(self, places: np.ndarray) -> Checked:
        """Those at `places`, which ascend."""
        return Checked(select(self.examples, places), self.scans.take(pa.array(places)), self.skipped)


def unmeasured(examples: Sequence[Example]) -> Checked:
    """Examples of whose clips nothing is known."""
    return Checked(examples, unknown(len(examples)), [])


def validate(
    examples: Sequence[Example],
    max_seconds: Seconds,
    min_seconds: Seconds = 0.0,
    on_bad_audio: OnBadAudio = "error",
    *,
    lines: Sequence[Line] = (),
    source: str = "the data",
    on_progress: OnProgress | None = None,
) -> tuple[Sequence[Example], list[BadRow]]:
    """Like `checked`; returns the examples kept and the rows skipped."""
    found = checked(
        examples, max_seconds, min_seconds, on_bad_audio, lines=lines, source=source, on_progress=on_progress
    )
    return found.examples, found.skipped


def checked(
    examples: Sequence[Example],
    max_seconds: Seconds,
    min_seconds: Seconds = 0.0,
    on_bad_audio: OnBadAudio = "error",
    *,
    lines: Sequence[Line] = (),
    source: str = "the data",
    on_progress: OnProgress | None = None,
    keep: Keep | None = None,
    synthetic: bool = False,
) -> Checked:
    """Decode every recording and check its length.

    Clips are never cut. Examples without a recording (synthetic speech, or no audio) are kept unchecked. For
    messages, `lines` has each example's position, and `source` names the set; what is found of a large set is kept
    under that name, so that it is decoded once. `keep` gives the places of those to look at; the others are left out.
    With `synthetic`, speech that is made when it is needed is measured too.

    Raises `DataError`, listing the first bad rows, if there are any and `on_bad_audio` is "error", or if no
    example is left.
    """
    scans = scan_all(examples, source, max_seconds, on_progress, synthetic=synthetic)
    if keep and len(places := keep(examples, scans)) < len(examples):
        examples, scans = select(examples, places), scans.take(pa.array(places))
        lines = [lines[place] for place in places.tolist()] if lines else lines
    faulty = pc.is_valid(scans["fault"])
    for odd in (pc.greater(scans["seconds"], max_seconds), pc.less(scans["seconds"], min_seconds)):
        faulty = pc.or_(faulty, pc.fill_null(odd, False))
    mask = np.asarray(faulty)
    if not mask.any():
        return Checked(examples, scans, [])
    bad = [
        _bad_row(examples[place], scan, min_seconds, max_seconds, lines[place] if lines else None, place)
        for place, scan in zip(np.flatnonzero(mask).tolist(), scans.filter(faulty).to_pylist(), strict=True)
    ]
    if on_bad_audio == "error":
        raise DataError(
            describe_bad(bad, source, len(examples))
            + "\nCorrect or remove them, or leave them out with data.on_bad_audio: skip"
        )
    if mask.all():
        raise DataError(describe_bad(bad, source, len(examples)) + "\nNo example is left; correct the data")
    kept = np.flatnonzero(~mask)
    return Checked(select(examples, kept), scans.take(pa.array(kept)), bad)


def _bad_row(
    example: Example, scan: dict[str, Any], shortest: Seconds, longest: Seconds, line: Line | None, number: int
) -> BadRow:
    """Why the clip of an example is unusable."""
    if scan["fault"] is not None:
        return BadRow(line, example.id, scan["fault"], number)
    assert example.clip is not None
    too_long = scan["seconds"] > longest
    remedy = "split it, raise" if too_long else "remove it, lower"
    than = f"longer than data.max_seconds={longest:g}" if too_long else f"shorter than data.min_seconds={shortest:g}"
    is_long = f"{example.clip.name} is {scan['seconds']:.6g} s"
    reason = f"{is_long}, {than}; {remedy} the limit or set data.on_bad_audio: skip"
    return BadRow(line, example.id, reason, number)
