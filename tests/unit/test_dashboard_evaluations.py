"""What the dashboard reads of evaluations and checkpoints, and shows of them."""

from __future__ import annotations

import json
import os
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dashboard_runs import WRONG, make_run, spoilt, well_formed
from measured import measured, summarized

from antiphon.dashboard import utterances
from antiphon.dashboard.comparing import judge
from antiphon.dashboard.read import evaluations
from antiphon.dashboard.read.checkpoints import list_checkpoints
from antiphon.errors import DataError, RunError
from antiphon.runs import RunFolder

REFUSED = {
    "null": {"wer_errors", "ref_clean"},
    "numbers": {"wer_errors", "ref_clean"},
    "words": {"wer_errors", "seconds"},
    "lists": {"wer_errors", "ref_clean", "speaker"},
    "missing": {"wer_errors", "ref_clean"},
}


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    return make_run(tmp_path, monkeypatch)


def evaluate(run: RunFolder, step: int, recognized: list[str]) -> None:
    said = ["one two three", "four five six", "seven eight nine", "one one one", "two two two", "three three three"]
    found = [
        measured(f"u{place}", a, b, seconds=1.0) for place, (a, b) in enumerate(zip(said, recognized, strict=True))
    ]
    rows = [one | {"audio": None} for one in found]
    run.save_eval("dev", step, summarized(found) | {"normalizer": "default"}, rows)


def write_evaluations(run: RunFolder) -> list[evaluations.Evaluated]:
    good = ["one two three", "four five six", "seven eight nine", "one one one", "two two two", "three three four"]
    evaluate(run, 0, ["x y z", "x y z", "x y z", "x y z", "x y z", "three three three"])
    evaluate(run, 4, good)
    return evaluations.list_evaluations(run.path)[0]


def test_evaluations_are_listed_compared_and_paired(run):
    before, after = write_evaluations(run)
    assert [(one.step, one.set, one.column.key) for one in (before, after)] == [(0, "dev", "wer"), (4, "dev", "wer")]
    pairs = evaluations.paired(*(evaluations.read_rows(run.path, one.folder) for one in (before, after)))
    assert [pair.change for pair in pairs] == [-3, -3, -3, -3, -3, 1]
    (found,) = judge((run.path, [before]), (run.path, [after]), "step 0", "step 4")
    assert found.significant
    assert found.sentence.startswith("step 4 makes 93% fewer errors than step 0 on dev")
    assert (found.errors_a, found.errors_b) == (15, 1)
    table = well_formed(utterances.table([before, after], after, {one.folder: "?" for one in (before, after)}))
    assert "before training" in table.text
    for pair in pairs:
        well_formed(utterances.compared(run.id, after.folder, pair, "step 0", "step 4"))
        well_formed(utterances.recognized(run.id, after.folder, pair.after))
    assert utterances.figures(after)["WER"].startswith("5.6%")


def test_evaluations_on_other_rows_are_not_compared(run):
    before, after = write_evaluations(run)
    path = run.path / "evals" / after.folder / "rows.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match="different rows"):
        judge((run.path, [before]), (run.path, [after]), "a", "b")


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


@pytest.mark.parametrize("wrong", WRONG)
def test_columns_of_another_kind_are_shown_or_named(run, wrong):
    refused = set()
    evaluated = write_evaluations(run)[-1]
    path = run.path / "evals" / evaluated.folder / "rows.parquet"
    for name, table in spoilt(path, wrong):
        pq.write_table(table, path)
        try:
            for one in evaluations.read_rows(run.path, evaluated.folder):
                utterances.recognized(run.id, evaluated.folder, one)
        except RunError:
            refused.add(name)
    assert REFUSED[wrong] <= refused


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
