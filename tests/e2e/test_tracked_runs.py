"""Trackers end to end: what each library reads back of a run that was resumed, and a command with two trackers."""

from __future__ import annotations

import pytest
from tracked import follow, make_run, make_step, read_mlflow, read_tensorboard, read_trackio, read_wandb

from antiphon.run.observers import Observer
from antiphon.run.trackers.load import load_trackers
from antiphon.run.trackers.state import TrackerState
from antiphon.runs.folder import RunFolder

READERS = {"tensorboard": read_tensorboard, "wandb": read_wandb, "trackio": read_trackio, "mlflow": read_mlflow}
SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module", autouse=True)
def stores(tmp_path_factory):
    """Where the libraries keep what they are given; trackio reads its folder when it is imported."""
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", SECRET)
        for place in ("DATA", "CACHE", "CONFIG"):
            patch.setenv(f"WANDB_{place}_DIR", str(folder / "wandb"))
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        patch.setenv("MLFLOW_TRACKING_URI", f"file:{folder / 'mlruns'}")
        yield


def background(run, notes: list[str], done: int = 0) -> Observer:
    (tracker,) = load_trackers(run.config.track, notes.append)
    return tracker


@pytest.mark.filterwarnings("ignore:For backward compatibility:Warning")  # MLflow's, of pandas.
@pytest.mark.parametrize("name", READERS)
def test_what_a_library_reads_back(name, tmp_path, capfd):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install 'antiphon[{name}]'")
    run, notes = make_run(tmp_path, {"name": name, "samples_every": 2}), []
    follow(background(run, notes), run, [1, 2], state="interrupted")
    first = TrackerState.load(run.path / "trackers" / f"{name}.json")
    follow(background(run, notes), run, [2, 3], done=1)
    assert notes == []
    kept, state = READERS[name](run), TrackerState.load(run.path / "trackers" / f"{name}.json")
    assert state.id == first.id, "a resumed run goes on under the same id"

    assert [step for step, _ in kept.scalars["train/reward_mean"]] == [1, 2, 3], "no step is there twice"
    assert kept.scalars["train/reward/wer"][0][1] == 0.5
    assert kept.scalars["time/step_seconds"][0][1] == 3.0
    assert kept.scalars["gate/engine_difference"][0][1] == pytest.approx(1e-6)
    for figure, value in {"wer": 0.25, "wer_low": 0.125, "wer_high": 0.5, "groups/a/wer": 0.5}.items():
        assert kept.scalars[f"eval/dev/{figure}"] == [(step, value) for step in (1, 2, 3)]

    assert len(kept.tables["dev"]) == 3
    assert len(kept.tables["train"]) == 1
    for text in ("row0", "row1", "hello world", "hallo"):
        assert text in kept.tables["dev"][0]
    assert "0.5" in kept.tables["train"][0]
    assert kept.clips == 3 + 2, "a clip of each evaluation, and the two prompts of step 2"

    assert kept.config["model"] == "builtin:student"
    assert float(kept.config["optimizer.lr"]) == 1e-6
    for said in ("step 2: something happened", "step 2: interrupted", "step 3: finished"):
        assert said in kept.notes
    assert "hush" not in str(kept), "passwords in URLs are not sent"
    files = [path for path in run.path.rglob("*") if path.is_file() and path.name != "config.yaml"]
    assert not [path for path in files if SECRET.encode() in path.read_bytes() or b"hush" in path.read_bytes()]
    assert capfd.readouterr().out == "", "stdout is a command's own"


def test_event_files_forget_what_came_after_the_step_that_a_run_is_resumed_from(tmp_path):
    pytest.importorskip("tensorboard")
    run = make_run(tmp_path, {"name": "tensorboard", "samples": 0})
    follow(background(run, []), run, [1, 2, 3])
    again = background(run, [])
    again.started(run, 1)
    again.stepped(make_step(2, reward=0.75))
    again.finished("finished", 2)
    kept = read_tensorboard(run)
    assert kept.scalars["train/reward_mean"] == [(1, 0.5), (2, 0.75)]
    assert [step for step, _ in kept.scalars["eval/dev/wer"]] == [1]


MINE = """
from antiphon.run.observers import Observer

class Mine(Observer):
    def __init__(self, loud=False):
        self.loud = loud

    def started(self, run, done):
        self.seen = (run.path / "seen.txt").open("a")
        self.seen.write(f"{run.config.model} {done} {self.loud}\\n")

    def stepped(self, step):
        self.seen.write(f"{step.number} {step.metrics['loss']}\\n")

    def evaluated(self, step, set_name, summary, rows):
        self.seen.write(f"{step} {set_name} {summary['wer']} {rows[0]['audio']}\\n")

    def finished(self, state, step, reason=None):
        self.seen.write(f"{state} {step}\\n")
        self.seen.close()
"""


def test_a_command_follows_a_run_by_a_librarys_tracker_and_a_users(cli, recipe, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    changed = ("train.steps=3", "eval.before=false", "track=[tensorboard, {name: mine.py:Mine, loud: true}]")
    run = RunFolder(tmp_path / cli("train", *recipe, *changed, "--json").json["path"])
    kept, metrics = read_tensorboard(run), run.metrics()
    for name, value in metrics[-1].items():
        if name != "step":
            assert kept.scalars[f"train/{name}"][-1] == (3, pytest.approx(value)), name
    evaluated = run.evals()[-1]
    assert kept.scalars["eval/dev/wer"] == [(3, pytest.approx(evaluated["wer"]))]
    assert len(kept.tables["dev"]) == 1
    assert kept.clips == 2
    first, *steps, measured, last = (run.path / "seen.txt").read_text().splitlines()
    assert first == "builtin:student 0 True"
    assert steps == [f"{row['step']} {row['loss']}" for row in metrics]
    assert measured.startswith(f"3 dev {evaluated['wer']} audio/evals/")
    assert last == "finished 3"

    (tmp_path / "mine.py").write_text(MINE.replace("step.metrics", "step.nothing"))
    again = cli("train", "--resume", f"{run.id}@2", "--track", "mine.py:Mine", "--json")
    assert again.json["steps"] == 3, "a tracker that fails ends no run"
    said = " ".join(again.err.split())
    assert said.count("the tracker mine.py:Mine failed and is off for the rest of the run: AttributeError") == 1
    assert run.metrics() == metrics
