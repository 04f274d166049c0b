"""WebDataset shards, written by webdataset itself."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import webdataset as wds

from antiphon.data.check import check
from antiphon.data.forms import named_sets, reader_of
from antiphon.data.readers import webdataset
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import DataError


def sound(samples: int, format: str = "FLAC") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.linspace(-0.5, 0.5, samples), 16000, format=format)
    return file.getvalue()


def shard(path: Path, *samples: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wds.TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


ODD = [
    {"__key__": "a", "flac": sound(8000), "txt": "eins", "json": {"language": "de", "room": "hall"}},
    {"__key__": "sub folder/ünï 1", "wav": sound(8800, "WAV"), "json": {"text": "two words", "language": "en"}},
    {"__key__": "c", "mp3": sound(16000, "MP3"), "cls": 3, "npy": b"\x00"},
]


def test_samples_are_rows_whose_recordings_stay_in_the_shard(tmp_path):
    path = shard(tmp_path / "a.tar", *ODD)
    assert reader_of(str(path)) is webdataset
    rows = read_set(path).require_good()
    first, second, third = rows.examples
    assert [one.text for one in rows.examples] == ["eins", "two words", "3"]
    assert [one.language for one in rows.examples] == ["de", "en", None]
    assert dict(first.columns) == {"__key__": "a", "room": "hall"}
    assert (len(second.clip.load(16000)), len(first.clip.load(16000))) == (8800, 8000)
    assert abs(len(third.clip.load(16000)) - 16000) < 2500
    assert second.clip.name == f"{path}#sub folder/ünï 1"
    assert list(rows.lines)[1] == "sample sub folder/ünï 1"
    assert check(path).good == 3


@pytest.mark.parametrize("spec", ["{}", "{}/train-{{0..1}}.tar", "{}/train-*.tar"])
def test_several_shards_are_one_set(tmp_path, spec):
    for number in range(2):
        shard(tmp_path / "set" / f"train-{number}.tar", {"__key__": "0", "wav": sound(8000, "WAV"), "txt": f"{number}"})
    rows = read_set(spec.format(tmp_path / "set")).require_good()
    assert [one.text for one in rows.examples] == ["0", "1"]
    assert list(rows.lines) == ["train-0.tar, sample 0", "train-1.tar, sample 0"]
    assert list(named_sets([spec.format(tmp_path / "set")])) == ["set"]


def test_a_folder_of_several_splits_is_refused(tmp_path):
    for name in ("train-0.tar", "test-0.tar"):
        shard(tmp_path / name, ODD[0])
    with pytest.raises(DataError, match=r"holds the splits test, train; name one of them, as .*\*test\*"):
        read_set(tmp_path)


def test_samples_that_cannot_be_used_are_named(tmp_path):
    two = {"__key__": "two", "wav": sound(800, "WAV"), "flac": sound(900), "txt": "x"}
    broken = {"__key__": "broken", "wav": sound(800, "WAV"), "json": b"[1]"}
    latin = {"__key__": "latin", "wav": sound(800, "WAV"), "txt": "ü".encode("latin-1")}
    path = shard(tmp_path / "a.tar", two, broken, latin, {"__key__": "silent", "txt": "no audio"})
    bad = [str(row) for row in read_set(path).bad]
    assert bad[0] == "sample two: the sample has the recordings .flac, .wav; choose one: --columns audio=.flac"
    assert "broken.json cannot be read (it holds a list, not an object)" in bad[1]
    assert "latin.txt cannot be read" in bad[2]
    assert len(bad) == 4
    (chosen,) = read_set(path, ReadOptions(columns={"audio": "flac"}, limit=1)).require_good().examples
    assert len(chosen.clip.load(16000)) == 900


def test_a_name_twice_in_a_shard_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for _ in range(2):
            member = tarfile.TarInfo("a.wav")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"RIFF"))
    assert "2 members are called a.wav" in str(read_set(tmp_path / "a.tar").bad[0])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:5000], "cannot be read as a tar file|has no end"),
        (lambda content: content.rstrip(b"\0") + bytes(-len(content.rstrip(b"\0")) % 512), "has no end"),
        (lambda content: b"not a tar at all" * 100, "cannot be read as a tar file"),
    ],
)
def test_a_damaged_shard_is_refused(tmp_path, damage, message):
    path = shard(tmp_path / "a.tar", *ODD[:2], {"__key__": "z", "txt": "z" * 512})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read_set(path)


def test_a_compressed_shard_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="which a compressed one does not allow; unpack it"):
        read_set(tmp_path / "a.tar.gz")
