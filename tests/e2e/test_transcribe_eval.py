"""`antiphon eval` and `antiphon transcribe`: figures, rows, formats, and results that batches do not change."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import write_rows
from measured import measured, summarized

from antiphon.audio.decode import read_audio
from antiphon.audio.encode import wav as wav_bytes
from antiphon.cli import output
from antiphon.data.corpora.sets import builtin_set
from antiphon.evaluate.results import read_evaluation

FORMATS = (("wav", 8000), ("flac", 44100), ("ogg", 48000), ("mp3", 22050), ("wav", 96000), ("flac", 16000))
ROW_COLUMNS = ("ref_text", "pred_text", "ref_clean", "pred_clean", "wer_errors", "cer_errors", "ref_words", "ref_chars")


def rows_of(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """The same kind of clean speech in every container, at many rates, mono and stereo; `rows.jsonl` lists it."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = []
    for number, (kind, rate) in enumerate(FORMATS):
        example = builtin_set("digits-clean")[number]
        assert example.clip is not None
        waveform = example.clip.load(rate)
        channels = np.stack([waveform, waveform], axis=1) if number % 2 else waveform
        soundfile.write(folder / f"clip{number}.{kind}", channels, rate)
        rows.append({"id": f"clip {number}", "wav": f"clip{number}.{kind}", "text": example.text, "take": number})
    write_rows(folder / "rows.jsonl", rows)
    return folder


def test_files_of_every_format_and_rate_are_recognized(cli, recordings):
    files = sorted(recordings.glob("clip?.*"))
    payload = cli("transcribe", "builtin:student", *files, "--json").json
    assert payload["model"] == "builtin:student"
    assert [row["audio"] for row in payload["results"]] == [str(file) for file in files]
    scored = [
        measured(str(number), builtin_set("digits-clean")[number].text, row["pred_text"])
        for number, row in enumerate(payload["results"])
    ]
    assert summarized(scored)["wer"] < 0.25, scored
    for number, row in enumerate(payload["results"]):
        whole = len(read_audio(files[number], 16000)) / 16000
        assert row["seconds"] == pytest.approx(whole)
        assert row["finish_reason"] == "stop"


def test_people_get_plain_text(cli, recordings):
    one = cli("transcribe", "builtin:student", recordings / "clip0.wav")
    assert one.status == 0
    assert one.out.count("\n") == 1
    assert "\t" not in one.out
    two = cli("transcribe", "builtin:student", recordings / "clip0.wav", recordings / "clip1.flac")
    assert two.out.splitlines()[0] == f"{recordings}/clip0.wav\t{one.out.strip()}"
    assert one.err == two.err == ""


def test_rows_in_are_rows_out_with_their_own_columns(cli, recordings, tmp_path):
    places = ("--input", recordings / "rows.jsonl", "--output", tmp_path / "texts.jsonl", "--columns", "audio=wav")
    done = cli("transcribe", "builtin:student", *places)
    assert done.out == ""
    rows = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"clip {number}" for number in range(len(FORMATS))]
    assert [row["take"] for row in rows] == list(range(len(FORMATS)))
    assert all({"audio", "text", "pred_text", "seconds", "finish_reason"} <= set(row) for row in rows)


def test_rows_without_text_can_be_transcribed(cli, recordings, tmp_path):
    data = write_rows(tmp_path / "untold.jsonl", [{"audio": str(recordings / "clip0.wav")}])
    (row,) = cli("transcribe", "builtin:student", "--input", data, "--json").json["results"]
    assert row["pred_text"]
    assert "text" not in row


def test_a_transcript_that_was_cut_is_said_to_be(cli, recordings):
    done = cli("transcribe", "builtin:student", recordings / "clip0.wav", "--max-new-tokens", 2, "--json")
    assert done.json["results"][0]["finish_reason"] == "length"
    assert "1 transcript(s) reached --max-new-tokens=2 and were truncated" in done.err


@pytest.mark.parametrize("name", ["train.jsonl", "dev.jsonl"])
def test_batch_size_does_not_change_a_transcript(cli, speech, name):
    def texts(size: int) -> list[str]:
        arguments = ("--input", speech / name, "--batch-size", size, "--json")
        return [row["pred_text"] for row in cli("transcribe", "builtin:student", *arguments).json["results"]]

    alone = texts(1)
    assert len(set(alone)) > 1
    assert texts(3) == alone
    assert texts(64) == alone


def test_eval_reports_each_set_with_its_figures(cli, speech):
    sets = ("--data", speech / "train.jsonl", "--data", "builtin:digits-clean", "--limit", 5)
    payload = cli("eval", "builtin:student", *sets, "--json").json
    assert set(payload) == {"train", "digits-clean"}
    for figures in payload.values():
        assert {"wer", "ci", "n", "cer", "sub", "del", "ins", "rtfx"} <= set(figures)
        assert figures["n"] == 5
        assert figures["wer"] == pytest.approx(figures["sub"] + figures["del"] + figures["ins"])
        assert figures["ci"][0] <= figures["wer"] <= figures["ci"][1]
        assert figures["rtfx"] > 0
        assert figures["skipped"] == 0
    assert payload["digits-clean"]["wer"] < payload["train"]["wer"], "rooms are harder than clean speech"


def test_eval_writes_its_rows_worst_first(cli, speech, tmp_path):
    output = tmp_path / "results"
    payload = cli("eval", "builtin:student", "--data", speech / "train.jsonl", "--output", output, "--json").json
    rows = rows_of(output / "train.parquet")
    assert len(rows) == 8
    assert all(set(ROW_COLUMNS) <= set(row) for row in rows)
    order = [(-row["wer_errors"], -row["cer_errors"], row["id"]) for row in rows]
    assert order == sorted(order)
    assert order[0] < order[-1], "some clips are harder than others"
    errors, words = (sum(row[key] for row in rows) for key in ("wer_errors", "ref_words"))
    assert payload["train"]["wer"] == pytest.approx(errors / words)
    for row in rows:
        assert row["wer_errors"] == row["sub"] + row["del"] + row["ins"]


def test_eval_by_group_measures_each_and_names_a_column_that_is_missing(cli, speech, tmp_path):
    arguments = ("eval", "builtin:student", "--data", speech / "train.jsonl", "--limit", 3)
    by_room = cli(*arguments, "--group-by", "room", "--output", tmp_path, "--json").json["train"]
    assert list(by_room["groups"]) == ["r0", "r1", "r2"]
    assert sum(one["edits"] for one in by_room["groups"].values()) == by_room["edits"]
    rows = rows_of(tmp_path / "train.parquet")
    assert {row["group"]: row["wer_errors"] for row in rows} == {
        room: one["edits"] for room, one in by_room["groups"].items()
    }
    refused = cli(*arguments, "--group-by", "rom")
    assert refused.status == 2
    assert "no row of train has the column 'rom' to group by; did you mean 'room'?" in refused.err


def test_limit_takes_the_first_rows(cli, speech, tmp_path):
    cli("eval", "builtin:student", "--data", speech / "dev.jsonl", "--limit", 2, "--output", tmp_path)
    ids = {row["id"] for row in rows_of(tmp_path / "dev.parquet")}
    assert ids == {"digits-clean-00000", "digits-clean-00001"}


def test_eval_shows_people_a_table_and_the_worst_rows(cli, speech, monkeypatch):
    monkeypatch.setattr(output.tables, "width", 120)
    shown = cli("eval", "builtin:student", "--data", speech / "train.jsonl")
    for heading in (
        "set",
        "WER [95%]",
        "CER",
        "sub",
        "del",
        "ins",
        "rows",
        "RTFx",
        "worst of train:",
        "said",
        "heard",
        "side by side, float32 on cpu; normalizer default",
    ):
        assert heading in shown.out
    assert "the language of 8 row(s) of train is unknown" in " ".join(shown.err.split())
    told = cli("eval", "builtin:student", "--data", speech / "train.jsonl", "--language", "English", "--limit", 1)
    assert told.err == ""
    assert "English rules" in told.out


@pytest.fixture(scope="module")
def segments(tmp_path_factory) -> Path:
    """Two recordings of two utterances each as segments, with columns of their own, one of which is no number."""
    folder = tmp_path_factory.mktemp("segments")
    rows = []
    for number in range(2):
        spoken = builtin_set("digits-clean")[2 * number : 2 * number + 2]
        clips = [one.clip.load(16000) for one in spoken if one.clip]
        soundfile.write(folder / f"both {number}.wav", np.concatenate(clips), 16000)
        middle = len(clips[0]) / 16000
        whole = sum(map(len, clips)) / 16000
        for part, (begin, end) in enumerate([(0.0, middle), (middle, whole)]):
            row = {"id": f"{number}-{part}", "audio": f"both {number}.wav", "begin_time": begin, "end_time": end}
            rows.append(row | {"text": spoken[part].text, "speaker": "jo", "note": {"snr": float("nan"), "by": ["x"]}})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines)
    return folder


def json_rows(path: Path) -> list[dict]:
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("place", ["texts.jsonl", "out/texts.jsonl"])
def test_what_transcribe_writes_is_a_set_with_every_field(cli, segments, tmp_path, place):
    output = tmp_path / place
    assert cli("transcribe", "builtin:student", "--input", segments / "rows.jsonl", "--output", output).status == 0
    rows = json_rows(output)
    assert [row["id"] for row in rows] == ["0-0", "0-1", "1-0", "1-1"]
    assert all((output.parent / row["audio"]).is_file() for row in rows)
    assert all(row["note"] == {"snr": None, "by": ["x"]} and row["speaker"] == "jo" for row in rows)
    assert [row["end_time"] for row in rows[:1]] == [row["begin_time"] for row in rows[1:2]]
    asked = ("--columns", "text=pred_text")
    assert cli("data", "check", output, *asked, "--json").json["bad"] == []
    again = cli("eval", "builtin:student", "--data", output, *asked, "--language", "en", "--json").json
    assert again["texts"]["wer"] == 0.0
    scored = cli("score", output, segments / "rows.jsonl", "--language", "en", "--json").json
    direct = cli("eval", "builtin:student", "--data", segments / "rows.jsonl", "--language", "en", "--json").json
    assert scored["rows"]["edits"] == direct["rows"]["edits"]


def test_transcripts_beside_their_recordings_have_paths_from_there(cli, segments):
    output = segments / "beside.jsonl"
    cli("transcribe", "builtin:student", "--input", segments / "rows.jsonl", "--output", output)
    assert {row["audio"] for row in json_rows(output)} == {"both 0.wav", "both 1.wav"}


def test_an_interrupted_transcription_goes_on_where_it_stopped(cli, segments, tmp_path):
    output = tmp_path / "texts.jsonl"
    command = ("transcribe", "builtin:student", "--input", segments / "rows.jsonl", "--output", output)
    cli(*command)
    whole = output.read_text()
    lines = whole.splitlines(keepends=True)
    marked = lines[0].replace('"speaker": "jo"', '"speaker": "kept"')
    output.write_text(marked + lines[1] + lines[2][:20])
    assert cli(*command, "--json").json["results"][0]["speaker"] == "kept"
    assert output.read_text() == marked + "".join(lines[1:])
    refused = cli(*command, "--max-new-tokens", 3)
    assert refused.status == 2
    assert "other options" in refused.err


def test_clips_that_are_no_files_are_written_beside_their_transcripts(cli, tmp_path):
    output = tmp_path / "texts.jsonl"
    data = tmp_path / "rows.jsonl"
    clip = builtin_set("digits-clean")[0].clip
    assert clip is not None
    sound = clip.load(16000)
    wav = base64.b64encode(wav_bytes(sound, 16000)).decode()
    write_rows(data, [{"id": "a", "audio": f"data:audio/wav;base64,{wav}", "text": "x"}])
    cli("transcribe", "builtin:student", "--input", data, "--output", output)
    (row,) = json_rows(output)
    assert (tmp_path / row["audio"]).is_file()
    assert cli("data", "check", output, "--json").json["bad"] == []


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_rows_of_an_evaluation_name_their_audio_and_are_compared_in_either_form(cli, segments, tmp_path, form):
    folder = tmp_path / form
    how = ("--data", segments / "rows.jsonl", "--language", "en", "--output", folder, "--rows", form)
    cli("eval", "builtin:student", *how)
    assert {path.suffix for path in folder.iterdir() if path.stem == "rows"} == {f".{form}"}
    rows = read_evaluation(folder).rows["rows"]
    assert all(Path(row["audio"]).is_file() and row["end_time"] > row["begin_time"] for row in rows)
    checked = cli("data", "check", folder / f"rows.{form}", "--columns", "text=ref_text", "--json").json
    assert (checked["good"], checked["bad"]) == (4, [])
    assert cli("compare", folder, folder, "--json").json["sets"][0]["n"] == 4
