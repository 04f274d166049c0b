"""`data.channel`: one channel, the mean of all, or a row of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from antiphon.audio.decode import FileClip
from antiphon.config import load_config
from antiphon.data.check import check
from antiphon.data.rows import ReadOptions
from antiphon.data.source import load_set, read_set
from antiphon.errors import ConfigError

LEVELS = (0.25, -0.5, 0.75)


def jsonl(folder: Path, **row: Any) -> str:
    soundfile.write(folder / "three.wav", np.tile(np.float32(LEVELS), (16000, 1)), 16000)
    soundfile.write(folder / "mono.wav", np.full(16000, 0.125, np.float32), 16000)
    rows = [{"audio": "three.wav", "text": "a", **row}, {"audio": "mono.wav", "text": "b"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(folder / "rows.jsonl")


def levels(spec: str, channel: Any) -> list[float]:
    examples = read_set(spec, ReadOptions(channel=channel)).require_good().examples
    return [round(float(example.clip.load(16000)[0]), 4) for example in examples if example.clip]


@pytest.mark.parametrize(
    ("channel", "expected"),
    [(None, [1 / 6, 0.125]), ("mix", [1 / 6, 0.125]), (0, [0.25, 0.125]), ("split", [*LEVELS, 0.125])],
)
def test_what_is_heard(tmp_path: Path, channel: Any, expected: list[float]):
    assert levels(jsonl(tmp_path), channel) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("own", "expected"), [(1, -0.5), (2, 0.75), ("Comedy Central", 1 / 6)])
def test_a_row_names_its_own(tmp_path: Path, own: Any, expected: float):
    spec = jsonl(tmp_path, channel=own)
    assert levels(spec, None)[0] == pytest.approx(expected, abs=1e-3)
    assert levels(spec, "mix")[0] == pytest.approx(1 / 6, abs=1e-3)


def test_split_rows_have_ids_and_the_channel(tmp_path: Path):
    examples = read_set(jsonl(tmp_path, id="x"), ReadOptions(channel="split")).examples
    assert [example.id for example in examples][:3] == ["x-0", "x-1", "x-2"]
    assert [example.columns.get("channel") for example in examples] == [0, 1, 2, None]


def test_the_recipe_decides_for_training(tmp_path: Path):
    spec = jsonl(tmp_path)
    examples, _ = load_set(spec, load_config(overrides=["data.channel=split"]))
    assert len(examples) == 4
    for wrong in ("data.channel=left", "data.channel=-1", "data.channel=1.5"):
        with pytest.raises(ConfigError, match=r"data\.channel"):
            load_config(overrides=[wrong])


@pytest.mark.parametrize("end", [1.1, 1.3, 1.5])
def test_an_end_past_the_file_is_noted_and_beyond_the_slack_refused(tmp_path: Path, end: float):
    spec = jsonl(tmp_path, begin_time=0.5, end_time=end)
    report = check(spec)
    assert report.bad == []
    assert len(report.notes) == 1
    assert "line 1" in report.notes[0]
    (bad,) = check(spec, ReadOptions(end_slack=0.05)).bad
    assert "beyond the end" in bad.reason
    clip = read_set(spec).examples[0].clip
    assert isinstance(clip, FileClip)
    assert clip.seconds() == 0.5
