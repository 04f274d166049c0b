"""Lhotse cuts, one for each example, with its supervision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from antiphon.data.check import seconds_of
from antiphon.data.export import Out, clip_of
from antiphon.errors import DataError, MissingExtraError
from antiphon.types import Example


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `cuts_NAME.jsonl.gz`; recordings that are no files go to `audio/`. Paths are absolute, for Lhotse.

    Raises `MissingExtraError` without `lhotse`, `DataError` for a recording that it cannot read.
    """
    try:
        from lhotse import CutSet
    except ImportError as error:
        raise MissingExtraError("writing Lhotse cuts", "lhotse", "lhotse") from error
    name = f"cuts_{out.name}.jsonl.gz"
    with CutSet.open_writer(out.folder / name) as writer:
        for example in examples:
            writer.write(_cut(example, out))
    return name


def _cut(example: Example, out: Out) -> Any:
    from lhotse import MonoCut, SupervisionSegment

    found = out.recording(example)
    inside = out.folder / found.path
    recording = _recording(str(inside), out.absolute(found.path))
    begin = found.begin if found.begin and found.begin > 0 else 0.0
    seconds = min(seconds_of(clip_of(example)), recording.duration - begin)
    channel = found.channel or 0
    said = SupervisionSegment(
        example.id,
        recording.id,
        start=0.0,
        duration=seconds,
        channel=channel,
        text=example.text,
        language=example.language,
        speaker=example.speaker,
        custom=dict(example.columns) or None,
    )
    return MonoCut(example.id, begin, seconds, channel, [said], None, recording)


@lru_cache(maxsize=16)
def _recording(path: str, final: str) -> Any:
    """A recording of `path`, which will be called `final`."""
    from lhotse import Recording

    try:
        found = Recording.from_file(path, recording_id=str(Path(final).with_suffix("")))
    except Exception as error:  # Each of Lhotse's backends has errors of its own.
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{final}: Lhotse cannot read it ({cause}); convert it to FLAC first") from error
    return replace(found, sources=[replace(found.sources[0], source=final)])
