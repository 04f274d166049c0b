"""Rows that `antiphon transcribe` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.audio.decode import FileClip
from antiphon.evaluate.outputs import transcribed
from antiphon.evaluate.pieces import Segment
from antiphon.evaluate.recognize import Transcript
from antiphon.tasks.load import find_task
from antiphon.types import Example, Text


@pytest.mark.parametrize("words", [[], ["one"], ["one", "two", "three"]])
def test_a_row_has_the_times_of_the_pieces(words: list[str]):
    pieces = tuple(Segment(float(at), at + 0.5, word) for at, word in enumerate(words))
    said = Transcript(Text(" ".join(words)), 9.0, "stop", None, segments=pieces)
    row = transcribed(find_task("asr"), Example("a", "asr", FileClip(Path("a.wav")), ""), said)
    assert row["pred_text"] == " ".join(words)
    assert [(one["begin_time"], one["end_time"], one["text"]) for one in row.get("segments", [])] == [
        (at, at + 0.5, word) for at, word in enumerate(words)
    ]
