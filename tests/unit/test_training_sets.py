"""Mixtures with weights, filters, duplicates and rows that are held out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from antiphon.config import load_config
from antiphon.data import index, scans
from antiphon.data.files import own_names
from antiphon.data.indexed import Indexed
from antiphon.data.source import checked_set, for_evaluation
from antiphon.data.stream import PromptStream
from antiphon.data.training import TrainingSets, leaked, load_training_sets
from antiphon.errors import ConfigError, DataError
from antiphon.types import Example, Prompt

RATE = 8000


def wav(path: Path, seconds: float, seed: int = 0) -> str:
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)), RATE)
    return path.name


def jsonl(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def speech(tmp_path: Path) -> str:
    """Clips of one to four seconds; the last one is the first one's copy."""
    for at in range(4):
        wav(tmp_path / f"{at}.wav", at + 1, at)
    wav(tmp_path / "copy.wav", 1, 0)
    return jsonl(
        tmp_path / "speech.jsonl",
        {"audio": "0.wav", "text": "one", "language": "en"},
        {"audio": "1.wav", "text": "two words and two more", "language": "de"},
        {"audio": "2.wav", "text": "", "language": "English"},
        {"audio": "3.wav", "text": "four"},
        {"audio": "copy.wav", "text": "one"},
    )


def loaded(*train: str, **data: Any) -> TrainingSets:
    overrides = [f"data.{key}={json.dumps(value)}" for key, value in data.items()]
    config = load_config(None, [f"data.train={json.dumps(list(train))}", *overrides])
    return load_training_sets(config, True, lambda _: lambda done, total: None)


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"audio": "0.wav", "text": "one"}, {}),
        ({"audio": "0.wav", "pred_text": "one"}, {"text": "pred_text"}),
        ({"wav": "0.wav", "sentence": "one"}, {"audio": "wav"}),
    ],
)
def test_columns_rename_those_of_an_evaluation_set_that_it_has(
    tmp_path: Path, row: dict[str, str], kept: dict[str, str]
):
    wav(tmp_path / "0.wav", 1)
    spec = jsonl(tmp_path / "dev.jsonl", row)
    config = load_config(None, ["data.columns={audio: wav, text: pred_text}"])
    own = for_evaluation(config, spec)
    assert own.data.columns == kept
    assert [example.text for example in checked_set(spec, own).examples] == ["one"]


@pytest.mark.parametrize(("ends", "cut"), [([0.9], 0), ([1.2], 1), ([1.2, 1.4, 0.5], 2)])
def test_a_run_says_that_segments_were_cut(tmp_path: Path, ends: list[float], cut: int):
    wav(tmp_path / "0.wav", 1)
    rows = [{"audio": "0.wav", "text": "one", "begin_time": 0.1, "end_time": end} for end in ends]
    notes = loaded(jsonl(tmp_path / "cut.jsonl", *rows)).notes
    assert len(notes) == min(cut, 1)
    assert all(f" {cut} segment" in note for note in notes)


@pytest.mark.parametrize("deduplicate", [None, "id"])
def test_sets_of_equal_names_in_equal_folders_are_mixed(tmp_path: Path, deduplicate: str | None):
    specs = []
    for name in ("a/x/data", "b/x/data", "b/y/data"):
        (tmp_path / name).mkdir(parents=True)
        wav(tmp_path / name / "0.wav", 1)
        specs.append(jsonl(tmp_path / name / "train.jsonl", {"audio": "0.wav", "text": name}))
    ids = [checked.examples[0].id for _, checked in loaded(*specs, deduplicate=deduplicate).sets]
    assert len(set(ids)) == 3
    assert loaded(*specs[::-1]).sets[0][1].examples[0].id == ids[2]


def test_a_set_named_in_two_ways_keeps_its_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    wav(tmp_path / "0.wav", 1)
    spec = jsonl(tmp_path / "train.jsonl", {"audio": "0.wav", "text": "one"})
    same = [spec, "train.jsonl", f"file://{spec}"]
    ids = {checked.examples[0].id for _, checked in loaded(*same).sets}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("specs", "names"),
    [
        (["/a/data/train.jsonl", "/b/data/train.jsonl"], ["a/data/train", "b/data/train"]),
        (["/a/de/train.jsonl", "/a/en/train.jsonl"], ["de/train", "en/train"]),
        (["hf:one/corpus", "hf:two/corpus"], ["hf:one/corpus", "hf:two/corpus"]),
        (["https://h/a/d/t.jsonl", "https://h/b/d/t.jsonl"], ["a/d/t", "b/d/t"]),
        (["/t.jsonl", "/t.jsonl"], ["//t"]),
    ],
)
def test_sets_have_as_long_a_name_as_tells_them_apart(specs: list[str], names: list[str]):
    assert list(own_names(specs).values()) == names


def texts(found: TrainingSets) -> list[list[str]]:
    return [[example.text for example in checked.examples] for _, checked in found.sets]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"min_seconds": 1.5}, [1, 2, 3]),
        ({"max_seconds": 2.5}, [0, 1, 4]),
        ({"text": True}, [0, 1, 3, 4]),
        ({"languages": ["en"]}, [0, 2]),
        ({"languages": "German", "text": True}, [1]),
        ({"max_chars_per_second": 5}, [0, 2, 3, 4]),
        ({"min_chars_per_second": 2}, [0, 1, 4]),
    ],
)
def test_filters_keep_the_rows_that_fit(
    speech: str, rules: dict[str, Any], kept: list[int], large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    if large:
        monkeypatch.setattr(index, "WORTH_IT", 0)
    found = loaded(speech, filter=rules)
    ((_, checked),) = found.sets
    assert isinstance(checked.examples, Indexed) == large
    assert [example.line for example in checked.examples] == [at + 1 for at in kept]
    assert checked.scans["seconds"].to_pylist() == [(1.0, 2.0, 3.0, 4.0, 1.0)[at] for at in kept]
    assert sum(int(note.split("leaves out ")[1].split()[0]) for note in found.notes) == 5 - len(kept)


def test_rows_left_out_are_not_refused_for_their_length(speech: str):
    assert len(loaded(speech, filter={"max_seconds": 1.5}, max_seconds=2).sets[0][1].examples) == 2
    with pytest.raises(DataError, match=r"longer than data\.max_seconds=2"):
        loaded(speech, max_seconds=2)


def test_filters_that_leave_nothing_are_refused(speech: str):
    with pytest.raises(DataError, match=r"no row is left"):
        loaded(speech, filter={"min_seconds": 10})


def test_duplicates_are_errors_or_left_out(tmp_path: Path, speech: str):
    other = jsonl(
        tmp_path / "other.jsonl",
        {"audio": "1.wav", "text": "said otherwise"},
        {"audio": "3.wav", "text": "four"},
        {"audio": "3.wav", "text": "five", "begin_time": 1},
        {"audio": "3.wav", "text": "five", "begin_time": 1},
    )
    with pytest.raises(DataError, match="the same clip and segment as line 3"):
        loaded(speech, other)
    first = ["one", "two words and two more", "", "four"]
    assert texts(loaded(speech, other, deduplicate="id")) == [[*first, "one"], ["said otherwise", "four", "five"]]
    assert texts(loaded(speech, other, deduplicate="audio")) == [first, ["five"]]
    assert texts(loaded(speech, other, deduplicate="audio_text")) == [first, ["said otherwise", "five"]]
    notes = loaded(speech, other, deduplicate="audio").notes
    assert [("speech" in note, "other" in note) for note in notes] == [(True, False), (False, True)]


def test_rows_held_out_depend_on_their_ids_alone(tmp_path: Path):
    rows = [{"prompt": f"question {at}", "text": "yes", "id": f"q{at}", "task": "text"} for at in range(400)]
    whole = loaded(jsonl(tmp_path / "all.jsonl", *rows), holdout=0.1)
    chosen = {example.id for example in whole.held_out}
    assert 20 < len(chosen) < 60
    assert chosen.isdisjoint(example.id for example in whole.sets[0][1].examples)
    part = loaded(jsonl(tmp_path / "part.jsonl", *rows[100:200]), holdout=0.1)
    assert {example.id for example in part.held_out} == chosen & {row["id"] for row in rows[100:200]}


def test_clips_of_an_evaluation_set_are_named(tmp_path: Path, speech: str):
    held = jsonl(
        tmp_path / "held.jsonl", {"audio": "copy.wav", "text": "x"}, {"audio": "3.wav", "text": "y", "begin_time": 1}
    )
    config = load_config(None, [f"data.train={speech}", f"data.eval={held}"])
    found = load_training_sets(config, True, lambda _: lambda done, total: None)
    (warning,) = leaked(found.sets, "held", checked_set(held, config))
    assert "2 clip(s)" in warning
    assert found.sets[0][1].examples[0].id in warning


def test_rows_of_heavier_sets_are_seen_more_often():
    examples = [Example(f"{name}{at}", "asr", None, "") for name in "ab" for at in range(20)]
    stream = PromptStream(examples, 5, 0, prompt, weights=[(20, 2.0), (20, 1.0)])
    assert stream.epoch == 30
    steps = [[one.id for one in stream.examples(step)] for step in range(6 * 40)]
    assert all(len(set(step)) == 5 for step in steps)
    seen = Counter(id for step in steps for id in step)
    assert {seen[f"a{at}"] for at in range(20)} == {40}
    assert min(seen[f"b{at}"] for at in range(20)) > 8
    assert sum(seen[f"b{at}"] for at in range(20)) == 40 * 10
    again = PromptStream(examples, 5, 0, prompt, weights=[(20, 2.0), (20, 1.0)])
    assert [one.id for one in again.examples(77)] == steps[77]
    stream.close()
    again.close()


@pytest.mark.parametrize("weights", [(), [(12, 3.0), (8, 3.0)]])
def test_equal_weights_change_no_order(weights: list[tuple[int, float]]):
    examples = [Example(str(at), "asr", None, "") for at in range(20)]
    stream = PromptStream(examples, 4, 7, prompt, weights=weights)
    order = np.random.default_rng([7, 1]).permutation(20)
    assert [one.id for one in stream.examples(5)] == [str(at) for at in order[:4]]
    stream.close()


def prompt(example: Example) -> Prompt:
    return Prompt(example.id, None, 16000)


def test_weights_name_training_sets():
    with pytest.raises(ConfigError, match=r"data\.weights.*a\.jsonl"):
        load_config(None, ["data.train=a.jsonl", "data.weights={b.jsonl: 2}"])


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Five clips whose scans are kept."""
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scans, "WORTH_KEEPING", 3)
    for at in range(5):
        wav(tmp_path / f"{at}.wav", 1 + at / 10, at)
    return jsonl(tmp_path / "many.jsonl", *({"audio": f"{at}.wav", "text": "x"} for at in range(5)))


def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that are decoded from now on."""
    decoded: list[str] = []
    real = scans.scan

    def noted(clip: Any, longest: float | None = None) -> Any:
        decoded.append(clip.path.name)
        return real(clip, longest)

    monkeypatch.setattr(scans, "scan", noted)
    return decoded


def test_clips_are_decoded_once_while_their_files_stay(many: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    decoded = scanned(monkeypatch)
    first = loaded(many).sets[0][1]
    assert sorted(decoded) == [f"{at}.wav" for at in range(5)]
    decoded.clear()
    wav(tmp_path / "3.wav", 2.5, 3)
    second = loaded(many).sets[0][1]
    assert decoded == ["3.wav"]
    assert second.scans["seconds"].to_pylist() == [1.0, 1.1, 1.2, 2.5, 1.4]
    assert first.scans["digest"][0] == second.scans["digest"][0]


def test_a_scan_that_was_stopped_goes_on(many: str, monkeypatch: pytest.MonkeyPatch):
    config = load_config(None, [f"data.train={many}"])

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(scans, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        load_training_sets(config, True, lambda _: stop)
    decoded = scanned(monkeypatch)
    loaded(many)
    assert sorted(decoded) == ["3.wav", "4.wav"]


def test_a_damaged_store_of_scans_is_made_again(many: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loaded(many)
    for path in (tmp_path / "cache" / "scans").rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:100])
    decoded = scanned(monkeypatch)
    assert len(loaded(many).sets[0][1].examples) == len(decoded) == 5


def test_a_clip_scanned_by_its_header_alone_is_decoded_when_it_is_used(many: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="longer than"):
        loaded(many, max_seconds=1.35)
    decoded = scanned(monkeypatch)
    assert len(loaded(many).sets[0][1].examples) == 5
    assert decoded == ["4.wav"]


def test_processes_find_what_threads_find(many: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "2.wav").write_bytes(b"no audio at all")
    jsonl(tmp_path / "many.jsonl", *({"audio": f"{at}.wav", "text": "x"} for at in range(6)))
    found = []
    for enough in (1, 1000):
        monkeypatch.setattr(scans, "IN_PROCESSES", enough)
        monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / f"cache-{enough}"))
        checked = checked_set(many, load_config(None, ["data.on_bad_audio=skip"]))
        found.append((checked.scans.to_pylist(), [str(row) for row in checked.skipped]))
    assert found[0] == found[1]
    assert [line[:6] for line in found[0][1]] == ["line 3", "line 6"]


def test_a_clip_that_ends_its_process_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from antiphon.data import workers
    from antiphon.data.scan import of_file

    code = (
        "import sys\nfor line in sys.stdin:\n    if 'deadly' in line: sys.exit(1)\n    print('[[1.5]]', flush=True)\n"
    )
    monkeypatch.setattr(workers, "_COMMAND", ["-c", code])
    monkeypatch.setattr(workers, "_PART", 1)
    found = list(workers.scans([of_file("a.wav"), of_file("deadly.wav"), of_file("b.wav")], None, 2))
    assert [one.seconds for one in found] == [1.5, None, 1.5]
    assert "deadly.wav" in (found[1].fault or "")
