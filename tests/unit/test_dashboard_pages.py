"""What the dashboard reads of rollouts, evaluations, checkpoints, clips and logs, and what it makes of them as HTML."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from antiphon.config import load_config
from antiphon.dashboard import audio, group, tokens, utterances
from antiphon.dashboard.comparing import judge
from antiphon.dashboard.read import evaluations, rollouts
from antiphon.dashboard.read.checkpoints import list_checkpoints
from antiphon.dashboard.read.log import read_tail
from antiphon.errors import AudioError, DataError, RunError
from antiphon.evaluate.metrics import measure, summarise
from antiphon.runs import RolloutRow, RunFolder

RATE = 8000


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.setattr("antiphon.runs.folder.describe", lambda command: {})
    config = load_config(None, [f"output={tmp_path / 'runs'}", "train.keep_checkpoints=2", "data.eval=dev.jsonl"])
    return RunFolder.create(config, ["antiphon"])


def row(example: str, sample: int, reward: float | None, **changes) -> RolloutRow:
    fields = {
        "step": 1,
        "example_id": example,
        "sample": sample,
        "prompt": "",
        "reference": f"words of {example}",
        "text": "words <b>of",
        "token_ids": [1, 2, 3],
        "tokens": ["words", " <b>of", "<|im_end|>"],
        "logprobs": [-0.01, -3.0, -0.2],
        "reward": reward,
        "advantages": [0.5, -0.25, 0.0],
        "finish_reason": "stop",
        "audio": f"audio/{example}.flac",
        "reward_parts": {"wer": 0.5},
    }
    return RolloutRow(**(fields | changes))


def write_groups(run: RunFolder, step: int = 1) -> rollouts.StepOfRun:
    rows = [row("a", 0, -1.0), row("a", 1, 0.0), row("b", 0, -0.5), row("b", 1, -0.5, finish_reason="length")]
    rows += [row("c", 0, None), row("c", 1, -0.1), row("c", 0, -0.2), row("c", 1, -0.2)]
    run.write_rollouts(step, rows)
    return rollouts.read_step(run.path, step)


def test_a_step_is_read_as_groups_with_their_rewards(run):
    step = write_groups(run)
    assert step.example_id == ["a", "b", "c", "c"]  # The same example twice in a step is two groups.
    assert step.reference[0] == "words of a"
    np.testing.assert_allclose(step.best, [0.0, -0.5, -0.1, -0.2])
    np.testing.assert_allclose(step.worst, [-1.0, -0.5, -0.1, -0.2])
    np.testing.assert_allclose(step.mean, [-0.5, -0.5, -0.1, -0.2])
    np.testing.assert_allclose(step.spread, [0.5, 0.0, 0.0, 0.0])
    assert step.failed.tolist() == [0, 0, 1, 0]
    assert step.truncated.tolist() == [0, 1, 0, 0]
    assert step.constant.tolist() == [False, True, True, True]


def test_groups_are_filtered_and_sorted(run):
    step = write_groups(run)

    def chosen(only="", search="", by=""):
        return rollouts.ordered(step, rollouts.matching(step, only, search), by).tolist()

    assert chosen() == [0, 1, 2, 3]
    assert chosen("failed") == [2]
    assert chosen("truncated") == [1]
    assert chosen("constant") == [1, 2, 3]
    assert chosen(search="Words OF b") == [1]
    assert chosen(search="nothing") == []
    assert chosen(by="best") == [2, 3, 0, 1]
    assert chosen(by="worst") == [0, 1, 3, 2]
    assert chosen("constant", by="spread") == [1, 2, 3]


def test_groups_without_any_reward_come_last_and_are_not_constant(run):
    run.write_rollouts(1, [row("a", 0, None), row("b", 0, -1.0)])
    step = rollouts.read_step(run.path, 1)
    assert np.isnan(step.mean[0])
    assert step.failed.tolist() == [1, 0]
    assert not step.constant[0]
    assert rollouts.ordered(step, [0, 1], "worst").tolist() == [1, 0]
    run.write_rollouts(2, [row("a", 0, None, reward_parts={})])
    assert rollouts.read_step(run.path, 2).failed.tolist() == [0]  # An algorithm without rewards fails at none.


def test_a_group_is_read_from_its_own_row_groups_alone(run):
    run.write_rollouts(1, [row(f"u{number}", 0, 0.0) for number in range(10)])
    path = run.path / "rollouts" / "step-000001.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=3)
    assert [one["example_id"] for one in rollouts.read_rows(path, 2, 5)] == ["u2", "u3", "u4"]
    assert rollouts.read_group(rollouts.read_step(run.path, 1), 9).example_id == "u9"
    with pytest.raises(RunError, match="has 10 rows, and none of number 10"):
        rollouts.read_rows(path, 10, 11)


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", b"\x00" * 4096])
def test_a_damaged_step_is_named(run, content):
    write_groups(run, 1)
    (run.path / "rollouts" / "step-000002.parquet").write_bytes(content)
    assert rollouts.steps(run.path) == [1, 2]
    with pytest.raises(RunError, match=r"rollouts/step-000002\.parquet cannot be read"):
        rollouts.read_step(run.path, 2)
    assert len(rollouts.read_step(run.path, 1)) == 4


def test_rollouts_of_another_kind_are_named(run):
    folder = run.path / "rollouts"
    pq.write_table(pq.read_table(_written(run)).drop_columns(["reward"]), folder / "step-000003.parquet")
    with pytest.raises(RunError, match="it has no column 'reward'"):
        rollouts.read_step(run.path, 3)


def test_rollouts_from_before_tokens_were_recorded_are_read(run):
    path = _written(run)
    pq.write_table(pq.read_table(path).drop_columns(["tokens"]), path)
    found = rollouts.read_group(rollouts.read_step(run.path, 1), 0)
    assert found.samples[0].tokens == []
    assert found.samples[0].token_count == 3
    assert well_formed(group.samples(found, "probability"))


def _written(run: RunFolder) -> Path:
    write_groups(run)
    return run.path / "rollouts" / "step-000001.parquet"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open, self.seen, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def well_formed(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    assert not tags.open
    return tags


def test_a_group_is_shown_with_its_words_escaped(run):
    step = write_groups(run)
    found = rollouts.read_group(step, 0)
    shown = well_formed(group.samples(found, "advantage"))
    assert "<b>of" in shown.text
    assert shown.text.index("0.000") < shown.text.index("−1.000")  # The best first.
    assert well_formed(group.listed(step, [0, 1, 2, 3], 1, ["?a", "?b", "?c", "?d"])).seen.count("a") == 4
    assert "clip-player" in well_formed(group.heading(run.id, 1, found)).seen


def test_samples_that_are_the_same_are_shown_once(run):
    run.write_rollouts(1, [row("a", number, -1.0) for number in range(3)] + [row("a", 3, -1.0, text="other")])
    found = rollouts.read_group(rollouts.read_step(run.path, 1), 0)
    shown = group.samples(found, "advantage")
    assert shown.count("<article") == 2
    assert "samples 0, 1, 2" in shown


def test_tokens_are_coloured_by_advantage_or_by_probability(run):
    write_groups(run)
    sample = rollouts.read_group(rollouts.read_step(run.path, 1), 0).samples[0]
    assert tokens.by_token([sample])
    assert not tokens.by_token([replace(sample, advantages=[0.5, 0.5, 0.5])])
    assert tokens.reach([sample]) == 0.5
    by_advantage = tokens.strip(sample, "advantage", 0.5)
    assert [shade in by_advantage for shade in ('"p4"', '"m2"', '"z marker"')] == [True, True, True]
    by_probability = tokens.strip(sample, "probability", 0.5)
    assert [shade in by_probability for shade in ('"u0"', '"u4"', '"u1 marker"')] == [True, True, True]
    assert well_formed(tokens.legend("advantage", 0.5)).text.startswith("−0.5")


def test_a_long_completion_is_not_shown_to_its_end(run):
    write_groups(run)
    sample = rollouts.read_group(rollouts.read_step(run.path, 1), 0).samples[0]
    many = tokens.MOST + 7
    shown = tokens.strip(replace(sample, tokens=["x"] * many, logprobs=[0.0] * many), "probability", 1.0)
    assert shown.count("<i ") == tokens.MOST
    assert "and 7 more tokens" in shown


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
        (None, "names no clip"),
        ("audio/../status.json", "is not within the run"),
        ("audio/gone.flac", "no such file"),
        ("/nowhere/x.wav", "not on this machine"),
        ("builtin:digits-clean-00001", "no copy kept"),
    ],
)
def test_a_clip_that_cannot_be_played_says_why(run, named, reason):
    with pytest.raises(AudioError, match=reason):
        audio.playable(audio.locate(run.path, run.path, named))


def test_a_file_that_is_no_audio_is_not_given_away(run, tmp_path):
    (tmp_path / "secret.txt").write_text("no sound")
    with pytest.raises(AudioError):
        audio.playable(audio.locate(run.path, run.path, str(tmp_path / "secret.txt")))


def evaluate(run: RunFolder, step: int, recognised: list[str]) -> None:
    said = ["one two three", "four five six", "seven eight nine", "one one one", "two two two", "three three three"]
    measured = [
        measure(f"u{place}", a, b, seconds=1.0) for place, (a, b) in enumerate(zip(said, recognised, strict=True))
    ]
    rows = [one.to_row() | {"audio": None} for one in measured]
    run.save_eval("dev", step, summarise(measured) | {"normaliser": "default"}, rows)


def write_evaluations(run: RunFolder) -> list[evaluations.Evaluated]:
    good = ["one two three", "four five six", "seven eight nine", "one one one", "two two two", "three three four"]
    evaluate(run, 0, ["x y z", "x y z", "x y z", "x y z", "x y z", "three three three"])
    evaluate(run, 4, good)
    return evaluations.list_evaluations(run.path)[0]


def test_evaluations_are_listed_compared_and_paired(run):
    before, after = write_evaluations(run)
    assert [(one.step, one.set, one.measure) for one in (before, after)] == [(0, "dev", "wer"), (4, "dev", "wer")]
    pairs = evaluations.paired(*(evaluations.read_rows(run.path, one.folder) for one in (before, after)))
    assert [pair.change for pair in pairs] == [-3, -3, -3, -3, -3, 1]
    (found,) = judge(run.path, [before], [after], "step 0", "step 4")
    assert found.significant
    assert found.sentence.startswith("step 4 makes 93% fewer errors than step 0 on dev")
    assert (found.errors_a, found.errors_b) == (15, 1)
    table = well_formed(utterances.table([before, after], after, {one.folder: "?" for one in (before, after)}))
    assert "before training" in table.text
    for pair in pairs:
        well_formed(utterances.compared(run.id, after.folder, pair, "step 0", "step 4"))
        well_formed(utterances.recognised(run.id, after.folder, pair.after))
    assert utterances.figures(after)["WER"].startswith("5.6%")


def test_evaluations_on_other_rows_are_not_compared(run):
    before, after = write_evaluations(run)
    path = run.path / "evals" / after.folder / "rows.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match="different rows"):
        judge(run.path, [before], [after], "a", "b")


def test_evaluations_scored_by_a_function_are_read(run):
    folder = run.path / "evals" / "step-000004-dev%3Amine"
    run.save_eval("dev:mine", 4, {}, [])
    (folder / "summary.json").unlink()
    summary = {"set": "dev", "function": "mine", "step": 4, "n": 2, "failed": 1, "score": 0.5, "ci": None}
    (folder / "scores.json").write_text(json.dumps(summary | {"metrics": {"wer": 0.25}}))
    common = {"prompt": None, "reference": "one", "audio": "audio/0.flac", "metadata": "{}"}
    rows = [
        {"row": 0, "id": "a", "score": 0.5, "error": None, "response": "one <two>", "metrics": '{"wer": 0.25}'},
        {"row": 1, "id": None, "score": None, "error": "ValueError: no", "response": None, "metrics": "{}"},
    ]
    pq.write_table(pa.Table.from_pylist([one | common for one in rows]), folder / "rows.parquet")
    (one,), damage = evaluations.list_evaluations(run.path)
    assert (one.kind, one.set, one.step, one.value, damage) == ("scored", "dev:mine", 4, 0.5, [])
    shown = [well_formed(utterances.scored(run.id, one.folder, r)) for r in evaluations.read_rows(run.path, one.folder)]
    assert "<two>" in shown[0].text
    assert "ValueError: no" in shown[1].text
    assert utterances.figures(one) == {"Mean score": "0.500", "wer": "0.250", "Rows": "2", "Failed": "1"}


def test_damaged_evaluations_are_named_and_hide_no_other(run):
    write_evaluations(run)
    for name, text in (("step-000001-x", "{"), ("step-000002-x", '{"set": "x", "step": 2, "wer": "high"}')):
        (run.path / "evals" / name).mkdir()
        (run.path / "evals" / name / "summary.json").write_text(text)
    (run.path / "evals" / "step-000003-x").mkdir()
    found, damage = evaluations.list_evaluations(run.path)
    assert len(found) == 2
    assert [line.split(" cannot be read: ")[0] for line in damage] == [f"evals/step-00000{n}-x" for n in (1, 2, 3)]
    (run.path / "evals" / found[0].folder / "rows.parquet").write_bytes(b"junk")
    with pytest.raises(RunError, match=r"step-000000-dev/rows\.parquet cannot be read"):
        evaluations.read_rows(run.path, found[0].folder)


WRONG = {
    "null": lambda n: pa.nulls(n),
    "numbers": lambda n: pa.array([7.5] * n),
    "words": lambda n: pa.array(["<x>"] * n),
    "lists": lambda n: pa.array([["<x>", None]] * n),
    "missing": lambda n: None,
}


REFUSED = {
    "null": {"wer_errors", "ref_clean"},
    "numbers": {"example_id", "tokens", "wer_errors", "ref_clean"},
    "words": {"reward", "reward_wer", "tokens", "wer_errors"},
    "lists": {"example_id", "reward", "logprobs", "wer_errors", "ref_clean"},
    "missing": {"example_id", "reward", "wer_errors", "ref_clean"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_columns_of_another_kind_are_shown_or_named(run, wrong):
    """A page is made of what a file holds, or says that it cannot be: nothing else is raised."""
    refused = set()
    path = _written(run)
    for name, table in _spoilt(path, wrong):
        pq.write_table(table, path)
        try:
            step = rollouts.read_step(run.path, 1)
            found = rollouts.read_group(step, 0)
            rollouts.ordered(step, rollouts.matching(step, "failed", "x"), "worst")
            group.listed(step, range(len(step)), 0, ["?"] * len(step))
            group.heading(run.id, 1, found)
            group.samples(found, "advantage")
            group.samples(found, "probability")
        except RunError:
            refused.add(name)
    evaluated = write_evaluations(run)[-1]
    path = run.path / "evals" / evaluated.folder / "rows.parquet"
    for name, table in _spoilt(path, wrong):
        pq.write_table(table, path)
        try:
            for one in evaluations.read_rows(run.path, evaluated.folder):
                utterances.recognised(run.id, evaluated.folder, one)
        except RunError:
            refused.add(name)
    assert REFUSED[wrong] <= refused


def _spoilt(path: Path, wrong: str) -> list[tuple[str, pa.Table]]:
    """The table with each column replaced, or left out."""
    table = pq.read_table(path)
    made = WRONG[wrong](table.num_rows)
    return [
        (name, table.drop_columns([name]) if made is None else table.set_column(place, name, made))
        for place, name in enumerate(table.column_names)
    ]


@pytest.mark.parametrize("value", [None, "x", [1], {"a": 1}, float("nan"), True])
def test_summaries_of_another_kind_are_shown_or_named(run, value):
    *_, evaluated = write_evaluations(run)
    path = run.path / "evals" / evaluated.folder / "summary.json"
    for key in evaluated.summary:
        path.write_text(json.dumps(evaluated.summary | {key: value}))
        os.utime(path.parent.parent, ns=(time.time_ns(), time.time_ns()))  # As replacing the folder does.
        found, damage = evaluations.list_evaluations(run.path)
        assert len(found) + len(damage) == 2
        for one in found:
            utterances.figures(one)
            utterances.groups(one)
        utterances.table(found, found[0], {one.folder: "?" for one in found})


@pytest.mark.parametrize("name", ["", ".", "..", "../rollouts", "a/b", "/etc", "x\0y", "no-such"])
def test_an_evaluation_is_looked_for_in_its_folder_alone(run, name):
    with pytest.raises(RunError, match="has no evaluation"):
        evaluations.folder_of(run.path, name)


def test_checkpoints_say_what_keeps_them(run):
    for step in (2, 4, 6, 8):
        with run.checkpoints.save(step) as folder:
            (folder / "weights").write_bytes(b"x" * 10 * step)
            if step != 6:
                (folder / "config.json").write_text("{}")
    run.log_guard(8, {"worse": 2})
    summaries = [{"set": "dev", "step": step, "wer": wer} for step, wer in ((0, 0.1), (4, 0.2), (8, 0.3))]
    found = list_checkpoints(run.path, run.config, summaries)
    assert [(one.step, one.why) for one in found] == [
        (8, "one of the newest 2"),
        (6, "one of the newest 2"),
        (4, "best by WER"),
        (2, "until the next one is saved"),
    ]
    assert [one.best for one in found] == [False, False, True, False]
    assert [one.whole for one in found] == [True, False, True, True]
    assert [one.worse for one in found] == [2, 0, 0, 0]
    assert found[1].bytes == 60
    assert [one.why for one in list_checkpoints(run.path, None, summaries)] == ["–"] * 4


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
