"""Data sets of the Python API: data URIs, recordings in every form, classes of rows, and the files made of them."""

import base64
import importlib
import io
import json
import linecache
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from antiphon import MultimodalDataset, open_dataset
from antiphon.api.datasets import NamedDataset, as_dataset
from antiphon.api.prepare import set_specs
from antiphon.api.recordings import as_uri, encoded
from antiphon.audio.embedded import decode_uri, encode_uri
from antiphon.audio.encode import wav
from antiphon.data.corpora.sets import builtin_set
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.data.validate import validate
from antiphon.errors import AudioError, ConfigError, DataError


def examples_of(path, **options):
    return read_set(path, ReadOptions(**options)).require_good().examples


RATE = 16000
TONE = np.sin(np.arange(RATE // 2) / 20).astype(np.float32) / 2


def flac(waveform: np.ndarray = TONE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format="FLAC")
    return file.getvalue()


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_data_uri_is_a_recording(tmp_path):
    file = write(tmp_path / "a.jsonl", {"audio": encode_uri(wav(TONE, RATE)), "text": "a tone", "begin_time": 0.1})
    (example,) = examples_of(file)
    assert example.clip is not None
    assert np.array_equal(example.clip.load(RATE), TONE[RATE // 10 :])
    assert example.clip.name.startswith("data:audio/wav;base64,")
    assert len(example.clip.name) < 100, "messages and rollouts name the clip, and do not hold it"
    assert example.id == examples_of(file)[0].id


def test_a_list_of_one_is_a_recording_and_of_two_is_none(tmp_path):
    one, two = {"audios": [encode_uri(flac())], "label": "a"}, {"audios": ["a.wav", "b.wav"], "label": "b"}
    rows = read_set(write(tmp_path / "a.jsonl", one, two), ReadOptions(columns={"audio": "audios", "text": "label"}))
    assert [example.text for example in rows.examples] == ["a"]
    assert str(rows.bad[0]) == 'line 2: "audios" lists 2 recordings; a row has one'


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("data:audio/wav;base64,!!!!", "base64 of the data URI is invalid"),
        ("data:audio/wav;base64", "is not a data URI"),
        (encode_uri(wav(TONE, RATE)[:-400]), "it lacks the last 400 of the bytes"),
        (encode_uri(b"said nothing"), "holds text, not audio"),
    ],
)
def test_a_damaged_data_uri_is_named_by_its_line(tmp_path, uri, fault):
    examples = examples_of(write(tmp_path / "a.jsonl", {"audio": uri, "text": "a", "id": "first"}))
    with pytest.raises(DataError, match=f"(?s)line 7 .*first.*{fault}"):
        validate(examples, 30.0, lines=[7])


def test_recordings_in_every_form_are_the_same(tmp_path):
    content = wav(TONE, RATE)
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    forms = [
        str(file),
        file,
        content,
        encode_uri(content),
        (TONE, RATE),
        {"array": TONE, "sampling_rate": RATE},
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(file)},
    ]
    for form in [*forms, [forms[0]]]:
        waveform, rate = soundfile.read(io.BytesIO(encoded(form)), dtype="float32")
        assert rate == RATE
        assert np.array_equal(waveform, TONE)
    assert as_uri(flac()).startswith("data:audio/flac;base64,")
    for wrong in (7, {"path": None}, ["a.wav", "b.wav"], tmp_path / "gone.wav"):
        with pytest.raises(AudioError, match=r"is not a recording|cannot be read"):
            encoded(wrong)


def test_a_data_uri_without_base64_is_percent_encoded():
    assert decode_uri("data:text/plain,a%20b") == b"a b"


def test_base64_wrapped_unpadded_and_of_urls():
    content = bytes(range(256)) * 3
    for encode in (base64.encodebytes, base64.b64encode, base64.urlsafe_b64encode):
        for strip in (b"", b"="):
            encoded = encode(content + b"\xff").rstrip(strip)
            assert decode_uri("data:audio/wav;base64," + encoded.decode()) == content + b"\xff"
    assert decode_uri("data:audio/wav;BASE64,%2B%2F%2B%2f") == base64.b64decode("+/+/")


class Tones(MultimodalDataset):
    """Rows as the tutorials of other gyms build them."""

    n_rows = 2
    made = 0

    def load(self, split="all"):
        type(self).made += 1
        uri = "data:audio/flac;base64," + base64.b64encode(flac()).decode()
        rows = [
            {self.input_key: "<audio>\nWrite.", self.media_column: [uri], self.label_key: "a tone", "room": "attic"},
            {self.input_key: "<audio>\nWrite.", self.media_column: [(TONE, RATE)], self.label_key: "again"},
        ]
        return rows[: self.n_rows]


def test_the_rows_of_a_class_become_a_data_set_on_disk(tmp_path):
    (spec,) = set_specs(Tones(), tmp_path)
    assert Path(spec).name == "Tones.jsonl", "what reports call the set"
    first, second = examples_of(spec)
    assert (first.text, second.text) == ("a tone", "again")
    assert first.columns == {"prompt": "<audio>\nWrite.", "room": "attic"}
    for example in (first, second):
        assert example.clip is not None
        assert np.allclose(example.clip.load(RATE), TONE, atol=1e-4)
    assert {path.suffix for path in (Path(spec).parent / "audio").iterdir()} == {".flac", ".wav"}


def test_what_was_prepared_is_used_again_until_something_changes(tmp_path):
    Tones.made = 0
    first = set_specs(Tones(), tmp_path)
    assert set_specs(Tones(), tmp_path) == first
    assert Tones.made == 1
    assert set_specs(Tones(n_rows=1), tmp_path) != first
    assert Tones.made == 2
    anew = set_specs(Tones(always_prepare=True), tmp_path)
    assert set_specs(Tones(always_prepare=True), tmp_path) == anew
    assert Tones.made == 4, "made each time, and found to be the same"
    assert not list((tmp_path / "datasets").glob(".*"))


def test_what_was_prepared_is_forgotten_when_the_file_of_the_class_changes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = """
        from antiphon import MultimodalDataset
        REQUEST = "{request}"
        class Asked(MultimodalDataset):
            modality = "text"
            def load(self, split="all"):
                return [{{"prompt": REQUEST, "label": ""}}]
    """
    for request in ("Why?", "Why not?"):
        (tmp_path / "asked.py").write_text(textwrap.dedent(module.format(request=request)))
        monkeypatch.delitem(sys.modules, "asked", raising=False)
        importlib.invalidate_caches()
        linecache.clearcache()
        (spec,) = set_specs(importlib.import_module("asked").Asked(), tmp_path)
        assert examples_of(spec)[0].columns["prompt"] == request


def test_a_class_may_write_other_rows_for_evaluation(tmp_path):
    class Split(Tones):
        def prepare(self, path, eval_paths=None):
            rows = self.load()
            self._write_jsonl(rows[:1], path)
            for place in (eval_paths or {}).values():
                self._write_jsonl(rows[1:], place)

    train, held_out = set_specs(Split(), tmp_path, with_eval=True)
    assert [one.text for one in examples_of(train)] == ["a tone"]
    assert [one.text for one in examples_of(held_out)] == ["again"]
    assert Path(held_out).name == "Split-eval.jsonl"


def test_a_list_of_rows_is_a_data_set(tmp_path):
    (tmp_path / "a.flac").write_bytes(flac())
    rows = [{"audio": str(tmp_path / "a.flac"), "text": "a", "id": 5}, {"audio": flac(TONE / 2), "text": "b"}]
    first, second = examples_of(set_specs(rows, tmp_path)[0])
    assert (first.id, first.text, second.text) == ("5", "a", "b")
    assert set_specs(rows, tmp_path) == set_specs(rows, tmp_path)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (
            [{"audio": "a.wav", "text": "a"}, {"text": "b", "room": "attic"}],
            "row 1: there is no recording .* text, room",
        ),
        ([{"audio": ["a.wav", "b.wav"], "text": "a"}], "row 0: there are 2 recordings"),
        ([{"audio": 7, "text": "a"}], "row 0: 7 is not a recording"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path, rows, fault):
    with pytest.raises(DataError, match=fault):
        set_specs(rows, tmp_path)


def test_rows_in_writing(tmp_path):
    class Questions(MultimodalDataset):
        modality = "text"
        input_key = "messages"

    asked = [{"role": "user", "content": "How?"}]
    rows = [{"messages": "Why?", "label": "Because."}, {"messages": asked, "label": "So."}]
    examples = examples_of(set_specs(Questions(rows=rows), tmp_path)[0])
    assert [(one.task, one.columns["prompt"], one.text) for one in examples] == [
        ("text", "Why?", "Because."),
        ("text", "How?", "So."),
    ]
    system = [{"messages": [{"role": "system", "content": "Rhyme."}, *asked], "label": ""}]
    with pytest.raises(DataError, match=r"row 0: 'messages' must be text, or one user message.* context="):
        set_specs(Questions(rows=system), tmp_path)
    with pytest.raises(ConfigError, match="always use their chat template"):
        Questions(rows=rows, apply_chat_template=False)


def test_what_a_class_has_not_is_refused():
    with pytest.raises(ConfigError, match="Tones has no attribute 'rows_n'; known: modality, hf_repo"):
        Tones(rows_n=3)
    with pytest.raises(ConfigError, match="modality 'video'"):
        Tones(modality="video")
    with pytest.raises(ConfigError, match="MultimodalDataset has nothing to load"):
        MultimodalDataset().load()
    with pytest.raises(ConfigError, match="a dict is not a data set"):
        as_dataset({"a": 1})


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """A folder in the hub's form, with a column of audio."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    audio = [{"bytes": flac(TONE / 2**i), "path": f"{i}.flac"} for i in range(3)]
    table = pa.table({"audio": audio, "sentence": ["A", "B", "C"], "speaker_id": [7, 7, 8]})
    (tmp_path / "hub" / "data").mkdir(parents=True)
    saved = datasets.Dataset(table).cast_column("audio", datasets.Audio(decode=False))
    pq.write_table(saved.data.table, tmp_path / "hub" / "data" / "validation-00000-of-00001.parquet")
    return tmp_path / "hub"


def test_a_class_reads_the_hub_as_it_stands(hub, tmp_path):
    class Sentences(MultimodalDataset):
        hf_repo = str(hub)
        hf_split = "validation"
        n_rows = 2
        columns = {"speaker": "speaker_id"}  # noqa: RUF012

    rows = Sentences().load()
    assert [(row["label"], row["speaker"]) for row in rows] == [("A", "7"), ("B", "7")]
    assert decode_uri(rows[1]["audios"][0]) == flac(TONE / 2), "as it is on the hub, not encoded again"
    assert rows[0]["prompt"].startswith("<audio>\n")
    examples = examples_of(set_specs(Sentences(), tmp_path)[0])
    assert [(one.text, one.speaker) for one in examples] == [("A", "7"), ("B", "7")]


def test_a_split_of_datasets_is_a_data_set(hub, tmp_path):
    import datasets

    from antiphon.config import load_config
    from antiphon.data.source import load_set

    split = datasets.load_dataset(str(hub), split="validation")
    (spec,) = set_specs(split, tmp_path)
    assert spec.startswith("hf:")
    examples, _ = load_set(spec, load_config())
    assert [one.text for one in examples] == ["A", "B", "C"]
    assert examples[0].clip is not None
    assert np.allclose(examples[0].clip.load(RATE), TONE, atol=1e-4)


def test_named_sets_have_rows_of_the_same_form(tmp_path):
    clip = builtin_set("digits-clean")[0]
    (row, *_) = NamedDataset("builtin:digits-clean").load()
    assert (row["id"], row["label"], row["speaker"]) == (clip.id, clip.text, clip.speaker)
    waveform, rate = soundfile.read(io.BytesIO(encoded(row["audios"])), dtype="float32")
    assert clip.clip is not None
    assert np.array_equal(waveform, clip.clip.load(rate))
    (tmp_path / "a.wav").write_bytes(wav(TONE, RATE))
    whole, part = {"audio": "a.wav", "text": "a"}, {"audio": "a.wav", "text": "b", "begin_time": 0.2}
    rows = as_dataset(write(tmp_path / "a.jsonl", whole, part)).load()
    assert rows[0]["audios"] == [str(tmp_path / "a.wav")]
    assert len(soundfile.read(io.BytesIO(encoded(rows[1]["audios"])))[0]) == len(TONE) - RATE // 5


class Loads:
    """A data set of somebody else's: all that it has is `load`."""

    def load(self):
        return [{"path": np_wave(), "sentence": "eins"}]


def np_wave() -> tuple:
    return (np.rint(TONE * 32767).astype(np.int16), RATE)


def prepared(dataset, output: Path) -> list:
    (spec,) = set_specs(dataset, output)
    return examples_of(spec)


def test_tables_and_objects_in_memory_are_sets(tmp_path):
    frame = pd.DataFrame(
        {"audio": [(TONE, RATE), flac()], "text": ["eins", "two"], "language": ["de", None], "snr": [np.nan, 3]}
    )
    first, second = prepared(frame, tmp_path)
    assert (first.text, first.language, second.language) == ("eins", "de", None)
    assert (dict(first.columns), dict(second.columns)) == ({}, {"snr": 3.0})
    for dataset in (Loads(), Loads, [{"audio": np_wave(), "transcription": "eins"}]):
        (one,) = prepared(dataset, tmp_path)
        assert one.text == "eins", "a column with a usual name is the text"
        assert np.abs(one.clip.load(RATE) - TONE).max() < 1e-4, "samples are scaled by their type"


def test_splits_are_passed_one_by_one(tmp_path):
    datasets = pytest.importorskip("datasets")
    split = datasets.Dataset.from_dict({"text": ["a"]})
    with pytest.raises(ConfigError, match="has the splits train, test; pass one of them"):
        set_specs(datasets.DatasetDict({"train": split, "test": split}), tmp_path)


def test_a_data_set_of_any_form_is_opened(tmp_path):
    table = pa.table({"audio": [flac()], "sentence": ["eins"], "locale": ["de"]})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = open_dataset(tmp_path / "a.parquet")
    assert rows.format == "parquet"
    assert {field: rows.columns[field] for field in ("audio", "text", "language")} == {
        "audio": "audio",
        "text": "sentence",
        "language": "locale",
    }
    (one,) = rows.examples
    assert np.array_equal(one.clip.load(RATE), read_tone(one))
    assert open_dataset("builtin:digits-clean", limit=2).format == "builtin"


def read_tone(one) -> np.ndarray:
    return soundfile.read(io.BytesIO(one.clip.path.read()), dtype="float32")[0]
