"""The clips that the dashboard plays, and the logs that it shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dashboard_runs import make_run

from antiphon.dashboard import audio
from antiphon.dashboard.audio import _Files
from antiphon.dashboard.read.log import read_tail
from antiphon.errors import AudioError
from antiphon.runs import RunFolder

RATE = 8000


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    return make_run(tmp_path, monkeypatch)


def wave(path: Path, seconds: float = 1.0) -> Path:
    time = np.arange(int(seconds * RATE)) / RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.25 * np.sin(440 * time) * (time > seconds / 2), RATE)
    return path


def test_a_copy_within_the_run_is_found_and_drawn(run):
    wave(run.path / "audio" / "a.flac")
    clip = audio.locate(run.path, run.path, "audio/a.flac")
    assert audio.playable(clip) == run.path / "audio" / "a.flac"
    shape = audio.waveform(clip)
    assert shape["seconds"] == 1.0
    assert len(shape["peaks"]) == audio.PEAKS
    assert max(shape["peaks"][: audio.PEAKS // 2 - 1]) == 0
    assert max(shape["peaks"]) == 100


def test_a_segment_of_a_source_is_cut(run, tmp_path):
    source = wave(tmp_path / "data" / "b.wav", seconds=2.0)
    for named in (f"{source}#t=0.5,1.25", "data/b.wav#t=0.5,1.25"):
        (run.path / "environment.json").write_text(json.dumps({"folder": str(tmp_path)}))
        copy = audio.playable(audio.locate(run.path, run.path, named))
        assert soundfile.info(copy).duration == 0.75
        assert copy != source


def test_silence_has_no_peaks(run):
    soundfile.write(run.path / "audio" / "s.wav", np.zeros(RATE), RATE)
    assert audio.waveform(audio.locate(run.path, run.path, "audio/s.wav"))["peaks"] == []


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (None, "has no clip"),
        ("audio/../status.json", "is not within the run"),
        ("audio/gone.flac", "no such file"),
        ("/nowhere/x.wav", "not on this machine"),
        ("builtin:digits-clean-00001", "synthesized and not copied"),
    ],
)
def test_a_clip_that_cannot_be_played_says_why(run, named, reason):
    with pytest.raises(AudioError, match=reason):
        audio.playable(audio.locate(run.path, run.path, named))


def test_a_file_that_is_no_audio_is_not_given_away(run, tmp_path):
    (tmp_path / "secret.txt").write_text("no sound")
    with pytest.raises(AudioError):
        audio.playable(audio.locate(run.path, run.path, str(tmp_path / "secret.txt")))


def test_the_end_of_a_log_is_read_with_its_levels(run):
    for message in ("finished 9 steps", "step 3: dev: wer 0.2, error rate", "failed: ValueError: no", "guard: 1 of 2"):
        run.log(message)
    tail = read_tail(run.path / "log.txt")
    assert [line.level for line in tail.lines] == ["good", "", "bad", "warn"]
    assert tail.lines[0].text == "finished 9 steps"
    assert len(tail.lines[0].time) == 19
    assert [line.text for line in read_tail(run.path / "log.txt", "GUARD").lines] == ["guard: 1 of 2"]
    assert read_tail(run.path / "none.txt").lines == []


def test_of_a_huge_or_binary_log_a_bounded_part_is_shown(run, monkeypatch):
    monkeypatch.setattr("antiphon.dashboard.read.log.SHOWN", 100)
    (run.path / "log.txt").write_bytes(b"first line\n" + b"\xff\x00\x1b[31m\n" * 50 + b"last\n")
    tail = read_tail(run.path / "log.txt")
    assert tail.cut
    assert tail.size == 11 + 50 * 8 + 5
    assert len(tail.lines) < 20
    assert tail.lines[-1].text == "last"
    assert "\x1b" not in tail.lines[0].text


def test_copies_that_are_forgotten_are_removed(tmp_path):
    copies, paths = _Files(2), [tmp_path / name for name in "abc"]
    for path in paths[:2]:
        path.touch()
        copies[path.name] = path
    assert copies["a"] == paths[0]
    copies["c"] = paths[2]
    assert [path.exists() for path in paths] == [True, False, False]
    assert set(copies) == {"a", "c"}
