"""Lhotse's manifests, written by Lhotse itself."""

from __future__ import annotations

import gzip
from pathlib import Path

import lhotse
import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.cut import MixedCut

from antiphon.data.check import check
from antiphon.data.forms import reader_of
from antiphon.data.readers import jsonl
from antiphon.data.readers import lhotse as reader
from antiphon.data.source import read_set
from antiphon.errors import DataError

RATE = 16000


def recording(folder: Path, name: str, seconds: float = 2.0, channels: int = 1) -> Recording:
    wave = np.linspace(-0.5, 0.5, round(seconds * RATE))
    soundfile.write(folder / f"{name}.wav", np.stack([wave * (n + 1) / channels for n in range(channels)], 1), RATE)
    return Recording.from_file(folder / f"{name}.wav", recording_id=name)


def said(name: str, of: str, start: float, seconds: float, text: str | None, **more) -> SupervisionSegment:
    return SupervisionSegment(name, of, start=start, duration=seconds, text=text, **more)


def saved(folder: Path, *cuts, name: str = "cuts.jsonl.gz") -> Path:
    CutSet.from_cuts(cuts).to_file(folder / name)
    return folder / name


def seconds(examples) -> list[float]:
    return [len(one.clip.load(RATE)) / RATE for one in examples]


def test_cuts_are_rows_with_their_part_of_the_audio(tmp_path):
    one, two = recording(tmp_path, "ünï 1"), recording(tmp_path, "b")
    whole = MonoCut(
        "whole", 0, 2.0, 0, [said("s1", "ünï 1", 0.0, 2.0, "eins", language="de", speaker="anna")], None, one
    )
    part = MonoCut(
        "part", 0.5, 1.0, 0, [said("s2", "b", 0.0, 1.0, "two", language="en", custom={"snr": 3.5})], None, two
    )
    path = saved(tmp_path, whole, part)
    assert reader_of(str(path)) is reader
    first, second = read_set(path).require_good().examples
    assert (first.id, first.text, first.language, first.speaker) == ("whole", "eins", "de", "anna")
    assert (second.id, second.text, second.clip.begin, second.clip.end) == ("part", "two", 0.5, 1.5)
    assert second.columns["snr"] == 3.5
    assert seconds([first, second]) == [2.0, 1.0]
    assert check(path).good == 2


def test_each_supervision_of_several_is_a_row(tmp_path):
    one = recording(tmp_path, "a")
    sayings = [said("s1", "a", 0.0, 0.5, "eins"), said("s2", "a", 1.0, 0.5, "two", language="en")]
    path = saved(tmp_path, MonoCut("cut", 0.2, 1.8, 0, sayings, None, one), name="x.jsonl")
    rows = read_set(path).require_good()
    assert [(e.id, e.text, e.clip.begin, e.clip.end) for e in rows.examples] == [
        ("s1", "eins", 0.2, 0.7),
        ("s2", "two", 1.2, 1.7),
    ]
    assert list(rows.lines) == ["line 1, supervision 0", "line 1, supervision 1"]


@pytest.mark.parametrize("spec", [".", "lib_recordings_dev.jsonl.gz", "lib_supervisions_dev.jsonl.gz"])
def test_recordings_and_supervisions_go_together(tmp_path, spec):
    both = [recording(tmp_path, "a"), recording(tmp_path, "b", 1.0)]
    RecordingSet.from_recordings(both).to_file(tmp_path / "lib_recordings_dev.jsonl.gz")
    sayings = [said("s1", "a", 0.0, 0.5, "eins"), said("s2", "a", 0.5, 1.0, "zwei"), said("s3", "b", 0.0, 1.0, "drei")]
    SupervisionSet.from_segments(sayings).to_file(tmp_path / "lib_supervisions_dev.jsonl.gz")
    rows = read_set(tmp_path / spec).require_good()
    assert [(one.id, one.text) for one in rows.examples] == [("s1", "eins"), ("s2", "zwei"), ("s3", "drei")]
    assert seconds(rows.examples) == [0.5, 1.0, 1.0]


def test_what_goes_with_nothing_is_named(tmp_path):
    RecordingSet.from_recordings([recording(tmp_path, "a")]).to_file(tmp_path / "recordings.jsonl.gz")
    SupervisionSet.from_segments([said("s1", "gone", 0.0, 0.5, "eins")]).to_file(tmp_path / "supervisions.jsonl.gz")
    bad = [str(row) for row in read_set(tmp_path).bad]
    assert any(
        row.startswith("supervisions.jsonl.gz, line 1 (example s1): there is no recording 'gone'") for row in bad
    )
    assert any("recordings.jsonl.gz, line 1" in row and '"text"' in row for row in bad)
    (tmp_path / "recordings.jsonl.gz").unlink()
    with pytest.raises(DataError, match="there are no recordings beside it"):
        read_set(tmp_path / "supervisions.jsonl.gz")


def test_a_folder_of_several_sets_is_refused(tmp_path):
    for name in ("cuts_dev.jsonl.gz", "cuts_train.jsonl.gz"):
        saved(tmp_path, recording(tmp_path, "a").to_cut(), name=name)
    with pytest.raises(DataError, match=r"holds several sets: cuts_dev.*cuts_train.*; name one"):
        read_set(tmp_path)


def test_cuts_that_are_no_part_of_a_file_are_made_by_lhotse(tmp_path):
    one = MonoCut("one", 0, 1.0, 0, [said("s", "a", 0, 1.0, "eins")], None, recording(tmp_path, "a"))
    mixed = one.pad(duration=1.5).with_id("padded")
    fast = one.perturb_speed(2.0).with_id("fast")
    rows = read_set(saved(tmp_path, mixed, fast)).require_good()
    assert seconds(rows.examples) == [1.5, 0.5]
    assert len(rows.examples[0].clip.load(8000)) == 12000
    assert isinstance(mixed, MixedCut)


def test_recordings_that_are_fetched_or_run_are_refused(tmp_path):
    cuts = []
    for type, source in (("command", "cat a.wav"), ("url", "https://example.org/a.wav")):
        one = recording(tmp_path, "a")
        one.sources[0] = lhotse.AudioSource(type, [0], source)
        cuts.append(one.to_cut().with_id(type))
    cuts.append(MonoCut("bare", 0, 1.0, 0))
    bad = [str(row) for row in read_set(saved(tmp_path, *cuts)).bad]
    assert "(example command): its recording is a command, 'cat a.wav', which is not run or fetched" in bad[0]
    assert "(example url): its recording is a url" in bad[1]
    assert "(example bare): the cut has no recording" in bad[2]


def test_a_cut_of_one_channel_of_two_says_so(tmp_path):
    right = MonoCut("right", 0, 2.0, 1, [said("s", "b", 0, 2.0, "x")], None, recording(tmp_path, "b", channels=2))
    (one,) = read_set(saved(tmp_path, right)).require_good().examples
    assert one.columns.get("channel", getattr(one.clip, "channel", None)) == 1


def test_lines_that_are_no_cuts_are_named(tmp_path):
    path = saved(tmp_path, recording(tmp_path, "a").to_cut())
    content = gzip.decompress(path.read_bytes()) + b'{"type": "MonoCut"}\nnot json\n'
    path.write_bytes(gzip.compress(content))
    bad = read_set(path).bad
    assert [row.line for row in bad[-2:]] == [2, 3]
    assert "not one of Lhotse's objects" in str(bad[-1])


def test_other_jsonl_files_are_not_lhotses(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"audio": "a.wav", "text": "", "duration": 1.0}\n')
    assert reader_of(str(tmp_path / "a.jsonl")) is jsonl
