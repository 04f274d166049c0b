"""Parquet files, written by `datasets` and by pyarrow."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from antiphon.data.check import check
from antiphon.data.forms import named_sets, reader_of
from antiphon.data.readers import parquet
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import AudioError, DataError

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    datasets.disable_progress_bars()


def flac(samples: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.linspace(-0.5, 0.5, samples), 16000, format="FLAC")
    return file.getvalue()


def write(path: Path, columns: dict[str, Any], types: dict[str, pa.DataType] | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: pa.array(values, (types or {}).get(name)) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path, **options)
    return path


def lengths(spec: Any, **columns: str) -> list[int]:
    return [len(one.clip.load(16000)) for one in read_set(spec, ReadOptions(columns=columns)).require_good().examples]


def test_what_datasets_writes_is_read_with_its_labels(tmp_path):
    path = tmp_path / "ünï 1.parquet"
    rows = [
        {
            "audio": {"bytes": flac(8000 + n), "path": f"{n}.flac"},
            "text": f"t{n}",
            "language": ("de", "en")[n],
            "kind": n,
        }
        for n in range(2)
    ]
    made = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio(decode=False))
    made.cast_column("kind", datasets.ClassLabel(names=["no", "yes"])).to_parquet(str(path))
    assert reader_of(str(path)) is parquet
    examples = read_set(path).require_good().examples
    assert [(e.text, e.language, e.columns["kind"]) for e in examples] == [("t0", "de", "no"), ("t1", "en", "yes")]
    assert lengths(path) == [8000, 8001]
    assert check(path).good == 2


def test_recordings_are_read_in_any_order_without_their_row_group(tmp_path, monkeypatch):
    count = 100
    cells = [{"bytes": flac(8000 + n), "path": None} for n in range(count)]
    columns = {"audio": cells, "text": [str(n) for n in range(count)]}
    path = write(tmp_path / "a.parquet", columns, {"audio": STRUCT}, row_group_size=70)
    examples = read_set(path).require_good().examples
    monkeypatch.setattr(parquet, "_kept", {})
    for number in (99, 3, 71, 70, 69, 0, 42):
        assert len(examples[number].clip.load(16000)) == 8000 + number


@pytest.mark.parametrize(
    ("cell", "type", "more"),
    [
        (flac(1600), pa.binary(), {}),
        (flac(1600), pa.large_binary(), {}),
        ({"bytes": flac(1600), "path": "a.flac"}, STRUCT, {}),
        ({"bytes": flac(1600)}, None, {}),
        ({"array": [0.1] * 1600, "sampling_rate": 16000}, None, {}),
        ([0.1] * 1600, pa.list_(pa.float32()), {"sampling_rate": [16000]}),
        ([0.1] * 800, pa.list_(pa.float64(), 800), {"sample_rate": [8000]}),
        ([3000] * 1600, pa.list_(pa.int16()), {"sample_rate": [16000]}),
    ],
)
def test_recordings_of_every_type(tmp_path, cell, type, more):
    path = write(tmp_path / "a.parquet", {"audio": [cell], "text": ["x"], **more}, {"audio": type} if type else {})
    assert lengths(path) == [1600]


@pytest.mark.parametrize("cell", ["clips/a.flac", {"bytes": None, "path": "clips/a.flac"}])
def test_paths_are_files_beside_the_table(tmp_path, cell):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.flac").write_bytes(flac(16000))
    columns = {"audio": [cell], "text": ["x"], "begin_time": [0.25], "end_time": [0.75]}
    path = write(tmp_path / "a.parquet", columns, {"audio": STRUCT} if isinstance(cell, dict) else {})
    assert lengths(path) == [8000]
    (one,) = read_set(path).examples
    assert one.clip.path == tmp_path / "clips" / "a.flac"


@pytest.mark.parametrize(
    ("cell", "type", "more", "message"),
    [
        (None, pa.binary(), {}, "the row has no recording"),
        ([0.1], pa.list_(pa.float32()), {"sampling_rate": [None]}, "samples need their rate"),
        ([99999], pa.list_(pa.int32()), {"sampling_rate": [16000]}, "beyond 16 bits"),
        ({"bytes": None, "path": "gone.wav"}, STRUCT, {}, "gone.wav"),
    ],
)
def test_a_cell_without_a_recording_is_named(tmp_path, cell, type, more, message):
    path = write(tmp_path / "a.parquet", {"audio": [cell], "text": ["x"], **more}, {"audio": type})
    (one,) = read_set(path).require_good().examples
    with pytest.raises(AudioError, match=message):
        one.clip.load(16000)


def test_values_are_those_of_json(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {"audio": ["a.wav"], "text": ["x"], "day": [date(2025, 1, 2)], "cost": [Decimal("1.50")], "tags": [["a"]]},
    )
    (one,) = read_set(path).require_good().examples
    assert (one.columns["day"], one.columns["cost"], one.columns["tags"]) == ("2025-01-02", 1.5, ["a"])


@pytest.mark.parametrize("spec", ["{}", "{}/p*.parquet"])
def test_several_files_are_one_set(tmp_path, spec):
    for number in range(2):
        write(tmp_path / "set" / f"p{number}.parquet", {"audio": [flac(1600)], "text": [f"{number}"]})
    rows = read_set(spec.format(tmp_path / "set")).require_good()
    assert [one.text for one in rows.examples] == ["0", "1"]
    assert list(rows.lines) == ["p0.parquet, row 0", "p1.parquet, row 0"]
    assert list(named_sets([spec.format(tmp_path / "set")])) == ["set"]


@pytest.mark.parametrize(
    "names",
    [("train-0.parquet", "test-0.parquet"), ("train/0.parquet", "dev/0.parquet"), ("a/x_dev.parquet", "train.parquet")],
)
def test_a_folder_of_several_splits_is_refused(tmp_path, names):
    for name in names:
        write(tmp_path / name, {"audio": [flac(1600)], "text": ["x"]})
    with pytest.raises(DataError, match=r"holds the splits .*; name one of them"):
        read_set(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a.parquet: cannot be read as Parquet"):
        read_set(tmp_path / "a.parquet")


def test_a_file_that_took_anothers_place_is_read_anew(tmp_path):
    for samples in (1600, 800):
        write(tmp_path / "a.parquet", {"audio": [flac(samples)], "text": ["x"]})
        assert lengths(tmp_path / "a.parquet") == [samples]
