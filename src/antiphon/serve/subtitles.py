"""Subtitles of a transcript: one cue for each segment with text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from antiphon.serve.transcription import Segment
from antiphon.types import Seconds


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered cues, times with a comma."""
    return "".join(f"{i}\n{times.replace('.', ',')}\n{text}\n\n" for i, (times, text) in enumerate(_cues(segments), 1))


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT (W3C)."""
    return "WEBVTT\n\n" + "".join(f"{times}\n{_escaped(text)}\n\n" for times, text in _cues(segments))


def _cues(segments: Sequence[Segment]) -> Iterable[tuple[str, str]]:
    return [(f"{_clock(one.start)} --> {_clock(one.end)}", " ".join(one.text.split())) for one in segments if one.text]


def _clock(seconds: Seconds) -> str:
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
