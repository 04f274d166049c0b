"""Which channel of a recording a row hears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from antiphon.audio.decode import Channel, FileClip, probe
from antiphon.errors import AudioError
from antiphon.types import Example

FIELD = "channel"
"""The column that says it row by row, where it is a number, and that has it after a split."""


def channel_of(row: Mapping[str, Any], setting: str | int | None) -> Channel:
    """The channel that a row hears: the `setting`'s, else its own, else the mean of all."""
    if setting is not None:
        return "mix" if isinstance(setting, str) else setting
    own = row.get(FIELD)
    return own if isinstance(own, int) and not isinstance(own, bool) and own >= 0 else "mix"


def split(example: Example) -> list[Example]:
    """An example for each channel of its recording, with ids that end in `-0`, `-1` …; one of a mono file stays.

    Reads the file's header. A file that cannot be read stays too: whoever checks the audio names it.
    """
    clip = example.clip
    if not isinstance(clip, FileClip):
        return [example]
    try:
        channels = probe(clip.path).channels
    except AudioError:
        return [example]
    if channels == 1:
        return [example]
    return [
        replace(
            example,
            id=f"{example.id}-{channel}",
            clip=replace(clip, channel=channel),
            columns={**example.columns, FIELD: channel},
        )
        for channel in range(channels)
    ]
