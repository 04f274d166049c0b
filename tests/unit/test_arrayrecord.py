"""ArrayRecord files, written by array_record itself, of tf.Example messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from antiphon.audio.encode import wav
from antiphon.data import example_proto
from antiphon.data.check import check
from antiphon.data.forms import reader_of
from antiphon.data.readers import arrayrecord
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import AudioError, DataError

WAVE = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
WHOLE = np.rint(WAVE * 32768).astype(np.int16)


def records(path: Path, *found: bytes) -> Path:
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in found:
        writer.write(record)
    writer.close()
    return path


def example(audio: example_proto.Feature, text: str = "eins", **features: example_proto.Feature) -> bytes:
    return example_proto.serialize({"audio": audio, "text": [text.encode()], **features})


AT_16K = {"sample_rate": [16000], "audio_len": [1600]}


@pytest.mark.parametrize(
    "features",
    [
        {"audio": [WAVE.tobytes()], **AT_16K},
        {"audio": [WHOLE.tobytes()], **AT_16K},
        {"audio": [WAVE.astype(np.float64).tobytes()], **AT_16K},
        {"audio": WAVE.tolist(), **AT_16K},
        {"audio": WAVE.tolist(), "sampling_rate": [16000]},
        {"audio": WHOLE.tolist(), **AT_16K},
        {"audio": [*WAVE.tolist(), 0.0, 0.0], **AT_16K},
        {"audio": [wav(WAVE, 16000)]},
    ],
)
def test_audio_of_every_kind_is_the_same_waveform(tmp_path, features):
    path = records(tmp_path / "a.arrayrecord", example(**features))
    assert reader_of(str(path)) is arrayrecord
    (one,) = read_set(path).require_good().examples
    assert np.abs(one.clip.load(16000) - WAVE).max() <= 1 / 65536 + 1e-7


def test_features_are_the_fields_of_a_row(tmp_path):
    more = {"language": [b"de"], "speaker": ["mär".encode()], "level": [0.5], "tags": [b"a", b"b"], **AT_16K}
    records(tmp_path / "a.array_record-00000-of-00002", example([WAVE.tobytes()], "ä", **more))
    records(tmp_path / "a.array_record-00001-of-00002", example([WAVE.tobytes()], "b", **AT_16K))
    rows = read_set(tmp_path).require_good()
    first, second = rows.examples
    assert (first.text, first.language, first.speaker, second.text) == ("ä", "de", "mär", "b")
    assert first.columns["level"] == 0.5
    assert first.columns["tags"] == ["a", "b"]
    assert list(rows.lines) == [f"a.array_record-0000{n}-of-00002, record 0" for n in range(2)]
    assert check(tmp_path).good == 2


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"audio": [WAVE.tobytes()], "audio_len": [1600]}, "need their rate"),
        ({"audio": [WAVE.tobytes()], "sample_rate": [16000]}, "does not say which samples"),
        ({"audio": [WAVE.tobytes()], "sample_rate": [16000], "audio_len": [700]}, "does not say which samples"),
        (
            {"audio": WAVE.tolist(), "sample_rate": [16000], "audio_len": [1599]},
            "is 1599, but there are 1600",
        ),
        ({"audio": [70000, 2], "sample_rate": [16000]}, "beyond 16 bits"),
        ({"audio": [b"RIFF", b"RIFF"]}, "has 2 recordings"),
    ],
)
def test_samples_that_are_not_clear_are_refused(tmp_path, features, message):
    path = records(tmp_path / "a.arrayrecord", example(**features))
    (one,) = read_set(path).require_good().examples
    with pytest.raises(AudioError, match=message):
        one.clip.load(16000)


def test_another_name_of_the_audio(tmp_path):
    path = records(tmp_path / "a.arrayrecord", example_proto.serialize({"wave": [wav(WAVE, 16000)], "text": [b"x"]}))
    (one,) = read_set(path, ReadOptions(columns={"audio": "wave"})).require_good().examples
    assert len(one.clip.load(16000)) == 1600


def test_records_that_are_no_examples_are_named(tmp_path):
    path = records(tmp_path / "a.arrayrecord", b"\xff\xff\xff", example([wav(WAVE, 16000)]), b"")
    rows = read_set(path)
    assert str(rows.bad[0]).startswith("record 0: not a tf.Example")
    assert [row.line for row in rows.bad] == ["record 0", "record 2"]


@pytest.mark.parametrize("content", [b"", b"text", bytes(70000)])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "a.arrayrecord").write_bytes(content)
    with pytest.raises(DataError, match=r"a.arrayrecord: cannot be read as ArrayRecord"):
        read_set(tmp_path / "a.arrayrecord")


def test_a_file_that_took_anothers_place_is_read_anew(tmp_path):
    for samples in (1600, 800):
        path = records(tmp_path / "a.arrayrecord", example([wav(WAVE[:samples], 16000)]))
        (one,) = read_set(path).require_good().examples
        assert len(one.clip.load(16000)) == samples
