"""Checks data before training and evaluation: decodes every clip once and checks its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

from antiphon.audio.decode import FileClip
from antiphon.data.rows import BadRow, Line, describe_bad
from antiphon.errors import AudioError, DataError
from antiphon.types import Example, Seconds

WORKERS = 2
_BATCH = 1024
"""Clips submitted to the threads at a time."""

Item = TypeVar("Item")
Result = TypeVar("Result")
OnProgress = Callable[[int], None]
"""Called with the number of clips read so far."""


def validate(
    examples: Sequence[Example],
    max_seconds: Seconds,
    min_seconds: Seconds = 0.0,
    on_bad_audio: Literal["error", "skip"] = "error",
    *,
    lines: Sequence[Line] = (),
    source: str = "the data",
    on_progress: OnProgress | None = None,
    workers: int = WORKERS,
) -> tuple[list[Example], list[BadRow]]:
    """Decode every recording and check its length; returns the examples kept and the rows skipped.

    Clips are never cut. Examples without a recording (synthetic speech, or no audio) are kept unchecked. For
    messages, `lines` has each example's position, and `source` names the set.

    Raises `DataError`, listing the first bad rows, if there are any and `on_bad_audio` is "error", or if no
    example is left.
    """
    if not any(isinstance(example.clip, FileClip) for example in examples):
        return list(examples), []
    kept: list[Example] = []
    bad: list[BadRow] = []
    checked = threaded(lambda example: _fault(example, min_seconds, max_seconds), examples, workers, on_progress)
    for number, (example, fault) in enumerate(checked):
        if fault is None:
            kept.append(example)
        else:
            bad.append(BadRow(lines[number] if lines else None, example.id, fault, number))
    if bad and on_bad_audio == "error":
        raise DataError(
            describe_bad(bad, source, len(examples))
            + "\nCorrect or remove them, or leave them out with data.on_bad_audio: skip"
        )
    if bad and not kept:
        raise DataError(describe_bad(bad, source, len(examples)) + "\nNo example is left; correct the data")
    return kept, bad


def _fault(example: Example, min_seconds: Seconds, max_seconds: Seconds) -> str | None:
    """Why the clip is unusable, or None. Checks the header first, so that an over-long clip is not decoded."""
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


def threaded(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, on_progress: OnProgress | None = None
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order. Threads help, as libsndfile releases the GIL."""
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            for item, result in zip(batch, pool.map(function, batch), strict=True):
                done += 1
                if on_progress:
                    on_progress(done)
                yield item, result
