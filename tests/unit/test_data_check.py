"""Checking a dataset: the report, the statistics, the gate before training, and their commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from antiphon.cli.data import app
from antiphon.cli.options import parse_columns
from antiphon.data.check import Distribution, check
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.data.stats import Share, stats
from antiphon.data.validate import validate
from antiphon.errors import ConfigError, DataError
from antiphon.types import Example


def examples_of(path, **options):
    return read_set(path, ReadOptions(**options)).require_good().examples


RATE = 8000


def clip(folder: Path, name: str, seconds: float, rate: int = RATE, channels: int = 1) -> str:
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    soundfile.write(folder / name, samples, rate)
    return name


def dataset(folder: Path, *lines: str | dict) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def good_rows(folder: Path) -> list[dict]:
    return [
        {
            "audio": clip(folder, "a.wav", 1.0),
            "text": "One two.",
            "id": "a",
            "speaker": "ann",
            "language": "en",
        },
        {"audio": clip(folder, "b.flac", 2.0, 96_000), "text": "two", "id": "b", "speaker": "ann"},
        {"audio": clip(folder, "c.wav", 3.0, channels=2), "text": "", "id": "c", "speaker": "bob"},
        {"audio": "c.wav", "text": "three", "id": "d", "begin_time": 1, "end_time": 1.5},
    ]


def truncated(folder: Path) -> str:
    name = clip(folder, "cut.flac", 2.0)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    return name


def test_the_report_of_a_good_dataset(tmp_path: Path):
    report = check(dataset(tmp_path, *good_rows(tmp_path)), max_seconds=2.5)
    assert (report.rows, report.good, report.bad) == (4, 4, [])
    assert report.hours == pytest.approx(6.5 / 3600)
    assert report.durations == Distribution(min=0.5, median=1.5, mean=1.625, p95=pytest.approx(2.85), max=3.0)
    assert report.rates == {8000: 3, 96_000: 1}
    assert report.channels == {1: 2, 2: 2}
    assert report.formats == {"WAV": 3, "FLAC": 1}
    assert report.languages == {"en": 1}
    assert report.speakers == {"ann": 2, "bob": 1}
    assert (report.empty_texts, report.over_long) == (1, 1)


def test_bad_rows_of_both_kinds_come_in_line_order(tmp_path: Path):
    path = dataset(
        tmp_path,
        {"audio": "none.wav", "text": "x", "id": "missing"},
        "{",
        {"audio": clip(tmp_path, "a.wav", 1.0), "text": "x", "id": "good"},
        {"audio": truncated(tmp_path), "text": "x", "id": "cut"},
        {"audio": "a.wav", "text": "x", "id": "late", "begin_time": 0.5, "end_time": 9},
        {"audio": "a.wav", "text": "x", "id": "good"},
    )
    report = check(path)
    assert (report.rows, report.good) == (6, 1)
    assert [(row.line, row.id) for row in report.bad] == [
        (1, "missing"),
        (2, None),
        (4, "cut"),
        (5, "late"),
        (6, "good"),
    ]
    reasons = [row.reason for row in report.bad]
    assert reasons[0].startswith(f"{tmp_path / 'none.wav'}: no such file;")
    assert reasons[1].startswith("not valid JSON at column 2 ")
    assert reasons[2].startswith(f"{tmp_path / 'cut.flac'}: truncated or damaged:")
    assert "the segment from 0.5 s to 9 s is beyond the end of the file, which lasts 1 s;" in reasons[3]
    assert reasons[4] == "the same id as line 3; ids must be unique"


def test_a_report_is_json(tmp_path: Path):
    report = check(dataset(tmp_path, *good_rows(tmp_path), "{"))
    payload = json.loads(json.dumps(report.to_dict()))
    assert payload["durations"]["max"] == 3.0
    assert payload["rates"] == {"8000": 3, "96000": 1}
    assert payload["bad"][0]["line"] == 5


def test_a_file_without_rows_gives_an_empty_report(tmp_path: Path):
    report = check(dataset(tmp_path, ""))
    assert (report.rows, report.durations, report.bad) == (0, None, [])


def test_progress_counts_every_clip(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    check(dataset(tmp_path, *good_rows(tmp_path)), on_progress=lambda *told: seen.append(told))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_statistics_count_words_as_wer_does(tmp_path: Path):
    found = stats(dataset(tmp_path, *good_rows(tmp_path)))
    assert (found.utterances, found.words, found.chars, found.vocabulary) == (4, 4, 16, 3)
    assert found.common_words == {"two": 2, "one": 1, "three": 1}
    assert found.words_per_second == pytest.approx(4 / 6.5)
    assert found.words_per_utterance == Distribution(min=0, median=1, mean=1, p95=pytest.approx(1.85), max=2)
    assert found.speakers["ann"] == Share(2, pytest.approx(3 / 3600), words=3, words_per_second=1.0)
    assert list(found.speakers) == ["ann", "bob", "(not given)"]
    assert {name: share.utterances for name, share in found.languages.items()} == {"(not given)": 3, "en": 1}
    assert found.empty_texts == 1


def test_words_of_a_script_without_spaces_are_characters(tmp_path: Path):
    path = dataset(tmp_path, {"audio": clip(tmp_path, "a.wav", 1.0), "text": "打开灯。", "language": "zh"})
    assert stats(path).words == 3


def test_statistics_list_the_rows_that_they_leave_out(tmp_path: Path):
    found = stats(dataset(tmp_path, "{", {"audio": "none.wav", "text": "x"}, *good_rows(tmp_path)))
    assert found.utterances == 4
    assert [row.line for row in found.bad] == [1, 2]


def test_validation_keeps_good_examples_as_they_are(tmp_path: Path):
    examples = examples_of(dataset(tmp_path, *good_rows(tmp_path)))
    assert validate(examples, max_seconds=3.0) == (examples, [])


def test_validation_stops_at_bad_audio_and_names_line_and_remedy(tmp_path: Path):
    path = dataset(
        tmp_path,
        "",
        {"audio": clip(tmp_path, "a.wav", 1.0), "text": "x", "id": "good"},
        {"audio": clip(tmp_path, "long.wav", 4.5), "text": "x", "id": "long"},
        {"audio": truncated(tmp_path), "text": "x", "id": "cut"},
    )
    rows = read_set(path)
    with pytest.raises(DataError) as error:
        validate(rows.examples, max_seconds=4, lines=rows.lines, source="data.jsonl")
    lines = str(error.value).splitlines()
    assert lines[0] == "data.jsonl: 2 of 3 row(s) cannot be used:"
    assert lines[1] == (
        f"  line 3 (example long): {tmp_path / 'long.wav'} is 4.5 s, longer than data.max_seconds=4; "
        "split it, raise the limit or set data.on_bad_audio: skip"
    )
    assert lines[2].startswith(f"  line 4 (example cut): {tmp_path / 'cut.flac'}: truncated or damaged:")
    assert lines[3] == "Correct or remove them, or leave them out with data.on_bad_audio: skip"


def test_validation_skips_and_lists_what_it_skipped(tmp_path: Path):
    rows = read_set(dataset(tmp_path, *good_rows(tmp_path), {"audio": truncated(tmp_path), "text": "x"}))
    kept, skipped = validate(rows.examples, 2.0, 0.75, on_bad_audio="skip", lines=rows.lines)
    assert [example.id for example in kept] == ["a", "b"]
    assert [row.line for row in skipped] == [3, 4, 5]
    assert skipped[1].reason == (
        f"{tmp_path / 'c.wav'}#t=1,1.5 is 0.5 s, shorter than data.min_seconds=0.75; "
        "remove it, lower the limit or set data.on_bad_audio: skip"
    )


def test_validation_does_not_skip_everything(tmp_path: Path):
    examples = examples_of(dataset(tmp_path, {"audio": "none.wav", "text": "x"}))
    with pytest.raises(DataError, match="No example is left; correct the data"):
        validate(examples, 30, on_bad_audio="skip")


def test_validation_leaves_clips_that_are_no_files_alone():
    class Tone:
        name = "tone"

        def load(self, rate: int) -> np.ndarray:
            raise AssertionError("synthetic speech is made when it is needed")

    example = Example("tone", "asr", Tone(), "x")
    assert validate([example], max_seconds=1) == ([example], [])


def test_check_command_prints_one_json_line_and_fails_on_bad_rows(tmp_path: Path):
    path = dataset(tmp_path, {"wav": clip(tmp_path, "a.wav", 1.0), "txt": ""}, "{")
    result = CliRunner().invoke(
        app,
        [
            "check",
            str(path),
            "--columns",
            "audio=wav",
            "--columns",
            "text=txt",
            "--max-seconds",
            "0.5",
            "--json",
        ],
    )
    assert result.exit_code == 1
    payload = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert (payload["good"], payload["empty_texts"], payload["over_long"]) == (1, 1, 1)
    assert [row["line"] for row in payload["bad"]] == [2]


def test_check_command_succeeds_on_good_data(tmp_path: Path):
    result = CliRunner().invoke(app, ["check", str(dataset(tmp_path, *good_rows(tmp_path)))])
    assert result.exit_code == 0
    assert "4 (4 good, 0 bad)" in result.stdout
    assert "8000 (3), 96000 (1)" in result.stdout


def test_stats_command_prints_tables_or_json(tmp_path: Path):
    path = str(dataset(tmp_path, *good_rows(tmp_path)))
    tables = CliRunner().invoke(app, ["stats", path])
    assert tables.exit_code == 0
    assert "4, 3 distinct, 0.62 per second" in tables.stdout
    payload = json.loads(CliRunner().invoke(app, ["stats", path, "--json"]).stdout)
    assert payload["speakers"]["ann"]["words"] == 3


def test_columns_option_is_field_and_key():
    assert parse_columns(["audio=wav", "text=a=b"]) == {"audio": "wav", "text": "a=b"}
    with pytest.raises(ConfigError, match=r"--columns audio: write FIELD=KEY, e\.g\. --columns audio=wav"):
        parse_columns(["audio"])
    with pytest.raises(ConfigError, match="audio is given twice"):
        parse_columns(["audio=a", "audio=b"])


def test_untranscribed_rows_are_good_where_they_may_be(tmp_path: Path):
    good_rows(tmp_path)
    path = dataset(tmp_path, {"audio": "a.wav"}, {"audio": "b.flac", "text": None}, {"audio": "c.wav", "text": "yes"})
    assert [row.line for row in check(path).bad] == [1, 2]
    allowed = check(path, ReadOptions(text_required=False))
    assert (allowed.good, allowed.bad, allowed.empty_texts) == (3, [], 2)
    shown = CliRunner().invoke(app, ["check", str(path), "--untranscribed", "--json"])
    assert (shown.exit_code, json.loads(shown.output)["bad"]) == (0, [])
    assert CliRunner().invoke(app, ["check", str(path)]).exit_code == 1


def sound(seconds: float = 1.0, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


DOUBTFUL: dict[str, dict[str, Any]] = {
    "silence": {"samples": np.zeros(RATE)},
    "clipping": {"samples": np.clip(sound(level=2.0), -1, 1)},
    "scale": {"samples": 20_000 * sound(), "subtype": "FLOAT"},
    "cancellation": {"samples": np.stack([sound(), -sound()], axis=1)},
    "short": {"samples": sound(0.05), "text": ""},
    "pace": {"samples": sound(), "text": "far more words than anybody says in one second of a recording"},
    "language": {"samples": sound(), "text": "доброе утро", "language": "English"},
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_a_doubtful_row_is_good_and_warned_of(tmp_path: Path, kind: str):
    odd = dict(DOUBTFUL[kind])
    soundfile.write(tmp_path / "odd.wav", odd.pop("samples"), RATE, subtype=odd.pop("subtype", "PCM_16"))
    plain = {"audio": clip(tmp_path, "plain.wav", 1.5), "text": "one", "language": "en"}
    report = check(dataset(tmp_path, plain, {"audio": "odd.wav", "text": "two", "id": "odd"} | odd))
    assert (report.good, report.bad) == (2, [])
    assert [(row.line, row.id, row.kind) for row in report.warnings] == [(2, "odd", kind)]


IN_THEIR_SCRIPT = [
    ("добре утро", "bg"),
    ("おはよう世界", "Japanese"),
    ("नमस्ते", "hi-IN"),
    ("crème brûlée", "fr"),
    ("12:30", "ru"),
    ("dobro jutro", "sr"),
    ("salom", "uz-Cyrl"),
    ("what", "tlh"),
    ("白い", "zh"),
]


@pytest.mark.parametrize(("text", "language"), IN_THEIR_SCRIPT)
def test_languages_may_be_written_in_their_scripts(tmp_path: Path, text: str, language: str):
    row = {"audio": clip(tmp_path, "a.wav", 1.5), "text": text, "language": language}
    assert check(dataset(tmp_path, row)).warnings == []


def test_the_same_sound_is_found_in_other_files_and_forms(tmp_path: Path):
    samples = (0.1 * 32767 * np.random.default_rng(0).standard_normal(RATE)).astype(np.int16)
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, samples, RATE)
    soundfile.write(tmp_path / "c.wav", samples[::-1].copy(), RATE)
    path = dataset(tmp_path, *({"audio": name, "text": "one"} for name in ("a.wav", "b.flac", "c.wav")))
    (warned,) = check(path).warnings
    assert (warned.line, warned.kind) == (2, "duplicate")
    assert "line 1" in warned.reason

    (tmp_path / "other").mkdir()
    soundfile.write(tmp_path / "other" / "x.flac", samples[::-1].copy(), RATE)
    held_out = dataset(tmp_path / "other", {"audio": "x.flac", "text": "two"})
    found = CliRunner().invoke(app, ["check", str(path), "--against", str(held_out), "--json"])
    assert [(row["line"], row["kind"]) for row in json.loads(found.stdout)["warnings"]] == [
        (2, "duplicate"),
        (3, "leak"),
    ]


def test_the_json_of_a_check_ends_with_its_result(tmp_path: Path):
    report = check(dataset(tmp_path, *good_rows(tmp_path), "{")).to_dict()
    assert list(report)[-4:] == ["good", "bad", "seconds", "format"]
    assert (report["good"], len(report["bad"]), report["seconds"]) == (4, 1, 6.5)


def test_built_in_sets_can_be_checked():
    report = check("builtin:digits-clean", ReadOptions(limit=2))
    assert (report.good, report.formats, report.warnings) == (2, {}, [])
    assert report.seconds > 1
