"""Evaluations by a user's function: order, failures, concurrency, and what is written where."""

import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from score_files import list_scores, read_score_rows, read_scores

from antiphon import AudioEvalRowResult, EvalConfig, EvalRowResult
from antiphon.audio.encode import wav
from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.runs.folder import RunFolder

CLIP = wav(np.zeros(1600, np.float32), 16000)
ROWS = [{"audio": CLIP, "text": str(i), "audios": [CLIP], "label": str(i), "id": f"r{i}"} for i in range(12)]


@pytest.fixture
def evaluated(tmp_path):
    """Evaluates a function on twelve rows."""

    def evaluate(function, deployment=None, **options):
        return EvalConfig(ROWS, function, output=tmp_path).evaluate(deployment, **options)

    return evaluate


def test_rows_keep_their_order_whenever_they_end(evaluated):
    def slow_first(deployment, example):
        time.sleep(0.03 if example["label"] == "0" else 0)
        return EvalRowResult(score=float(example["label"]), response=example["label"])

    result = evaluated(slow_first)
    assert [row.response for row in result.rows] == [str(i) for i in range(12)]
    assert (result.total, result.mean) == (12, 5.5)
    low, high = result.ci
    assert low < 5.5 < high
    assert result.summary()["n"] == 12


def test_a_function_that_raises_marks_its_row_and_the_others_go_on(evaluated, capsys):
    def picky(deployment, example):
        if example["label"] == "3":
            raise LookupError("no threes")
        return 1.0

    result = evaluated(picky, debug=True)
    assert [row.score for row in result.rows] == [1.0] * 3 + [None] + [1.0] * 8
    assert result.rows[3].error == "LookupError: no threes"
    assert (result.mean, result.total, len(result.failed)) == (1.0, 12, 1)
    shown = capsys.readouterr().err
    assert "row 3: failed: LookupError: no threes" in shown
    assert 'raise LookupError("no threes")' in shown, "the traceback"
    saved = read_score_rows(result.path)
    assert [row["error"] for row in saved] == [None] * 3 + ["LookupError: no threes"] + [None] * 8
    assert read_scores(result.path)["failed"] == 1


def test_nothing_is_said_without_debug(evaluated, capsys):
    evaluated(lambda deployment, example: 1 / 0)
    assert capsys.readouterr().err == ""


def test_all_rows_may_fail(evaluated):
    result = evaluated(lambda deployment, example: 1 / 0)
    assert (result.mean, result.ci, len(result.failed)) == (None, None, 12)
    assert read_scores(result.path)["score"] is None


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (None, "TypeError: the function returned a NoneType"),
        ("good", "TypeError: the function returned a str"),
        (float("nan"), "ValueError: the function's score is nan"),
        (EvalRowResult(None), "ValueError: the function's score is None"),
    ],
)
def test_what_is_no_score_is_a_failure(evaluated, returned, error):
    assert evaluated(lambda deployment, example: returned).rows[0].error.startswith(error)


@pytest.mark.parametrize("returned", [1, 0.5, np.float32(0.25), True])
def test_numbers_are_scores(evaluated, returned):
    assert evaluated(lambda deployment, example: returned).mean == float(returned)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_as_many_rows_run_at_a_time_as_asked_for(evaluated, asynchronous):
    lock, running, most = threading.Lock(), [0], [0]

    def enter(change):
        with lock:
            running[0] += change
            most[0] = max(most[0], running[0])

    def waits(deployment, example):
        enter(1)
        time.sleep(0.02)
        enter(-1)
        return 1.0

    async def awaits(deployment, example):
        enter(1)
        await asyncio.sleep(0.02)
        enter(-1)
        return 1.0

    evaluated(awaits if asynchronous else waits, max_concurrency=4)
    assert most[0] == 4


def test_a_notebook_with_a_running_loop_may_evaluate(evaluated):
    async def notebook():
        return evaluated(lambda deployment, example: 1.0)

    assert asyncio.run(notebook()).mean == 1.0


def test_at_least_one_row_runs_at_a_time(evaluated):
    with pytest.raises(ConfigError, match="max_concurrency must be at least 1, got 0"):
        evaluated(lambda deployment, example: 1.0, max_concurrency=0)


def heard(deployment, example):
    return AudioEvalRowResult(
        score=0.5,
        response="four",
        prompt=[{"role": "user", "content": "?"}],
        audio=example["audios"],
        reference=example["label"],
        metrics={"wer": float(example["label"])},
        metadata={"voice": "anna"},
    )


def test_audio_rows_fold_into_metadata_and_onto_disk(evaluated):
    result = evaluated(heard, SimpleNamespace(url="http://localhost"))
    assert result.rows[2].metadata == {
        "_metadata_type": "audio",
        "audio": [CLIP],
        "reference": "2",
        "metrics": {"wer": 2.0},
        "voice": "anna",
    }
    assert result.metrics == {"wer": 5.5}
    row = read_score_rows(result.path)[2]
    assert (row["id"], row["reference"], row["response"]) == ("r2", "2", "four")
    assert (row["metrics"], row["metadata"]) == ({"wer": 2.0}, {"voice": "anna"})
    assert row["prompt"] == '[{"role": "user", "content": "?"}]'
    assert (result.path / row["audio"]).read_bytes() == CLIP


def test_a_clip_that_is_none_does_not_undo_an_evaluation(evaluated):
    result = evaluated(lambda deployment, example: AudioEvalRowResult(1.0, audio="gone.wav"))
    row = read_score_rows(result.path)[0]
    assert (row["score"], row["audio"]) == (1.0, None)
    assert "gone.wav: cannot be read" in row["metadata"]["audio_error"]


def test_the_evaluation_of_a_checkpoint_is_kept_with_its_run(evaluated, tmp_path):
    run = RunFolder.create(load_config(overrides=[f"output={tmp_path}/runs", "data.train=a.jsonl"]), ["test"])
    for step in (10, 20):
        with run.checkpoints.save(step) as folder:
            (folder / "config.json").write_text("{}")
    config = SimpleNamespace(weights=str(run.checkpoints.at(20).path), served_model_name="mine")
    first = evaluated(heard, SimpleNamespace(deployment_config=config))
    again = evaluated(heard, SimpleNamespace(deployment_config=config))
    assert first.path == again.path == run.path / "evals" / "step-000020-MultimodalDataset%3Aheard"
    scores = read_scores(again.path)
    assert (scores["step"], scores["served_model_name"], scores["function"]) == (20, "mine", "heard")
    assert list_scores(run.path / "evals") == [again.path]
    assert run.evals() == [], "the run's own evaluations are others"
    run.truncate_after(10)
    assert list_scores(run.path / "evals") == []


def test_the_evaluation_of_any_other_model_is_kept_by_its_time(evaluated, tmp_path):
    config = SimpleNamespace(weights="builtin:student", served_model_name="builtin:student")
    path = evaluated(heard, SimpleNamespace(deployment_config=config)).path
    assert path.parent == tmp_path / "evals"
    assert path.name.endswith("builtin%3Astudent-MultimodalDataset%3Aheard")
    assert read_scores(path)["step"] is None


def test_a_function_by_its_name_is_found_from_the_working_folder(evaluated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judges.py").write_text("def right(deployment, example):\n    return example['label'] == '3'")
    assert evaluated("judges.py:right").mean == 1 / 12
    assert evaluated("judges:right").mean == 1 / 12
    with pytest.raises(ConfigError, match=r"the eval function 'judges.py:wright': .* did you mean 'right'\?"):
        evaluated("judges.py:wright")
    with pytest.raises(ConfigError, match=r"unknown eval function 'right' in 'eval_fn'; .*written file.py:function"):
        evaluated("right")
