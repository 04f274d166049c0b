"""A run folder: what is written, what is found again, and what a resumed run starts from."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from antiphon.config import Config, load_config
from antiphon.errors import RunError
from antiphon.runs import RolloutRow, RunFolder, atomic, find_run, list_runs, resolve
from antiphon.runs.checkpoints import step_name
from antiphon.runs.status import Status, now
from antiphon.types import Audio


@pytest.fixture
def config(tmp_path) -> Config:
    return load_config(None, [f"output={tmp_path / 'runs'}", "train.steps=9", "train.audio_copies=2"])


@pytest.fixture
def run(config) -> RunFolder:
    return RunFolder.create(config, ["antiphon", "train"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save_checkpoint(run: RunFolder, step: int) -> None:
    with run.checkpoints.save(step) as folder:
        (folder / "weights").write_bytes(b"x" * step)


def row(step: int, sample: int, parts: dict[str, float]) -> RolloutRow:
    return RolloutRow(
        step=step,
        example_id="u1",
        sample=sample,
        prompt="",
        reference="one two",
        text="one too",
        token_ids=[5, 6, 2],
        logprobs=[-0.5, -0.25, -0.125],
        reward=-0.5,
        advantages=[0.5, 0.5, 0.5],
        finish_reason="stop",
        audio="audio/u1.flac",
        reward_parts=parts,
        columns={"room": "kitchen"},
    )


def test_a_new_run_has_its_recipe_its_environment_and_its_state(run, config):
    assert re.fullmatch(r"\d{8}-\d{6}-grpo-student", run.id)
    assert load_config(run.path / "config.yaml") == config
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["command"] == ["antiphon", "train"]
    assert environment["packages"]["torch"]
    assert environment["python"] == sys.version.split()[0]
    status = json.loads((run.path / "status.json").read_text())
    assert (status["state"], status["step"], status["steps"], status["pid"]) == (
        "starting",
        0,
        9,
        os.getpid(),
    )


def test_environment_variables_stay_out(config, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    run = RunFolder.create(config, ["antiphon", "train"])
    assert "sesame" not in (run.path / "environment.json").read_text()


def test_runs_of_one_second_get_different_folders(config):
    runs = [RunFolder.create(config, []) for _ in range(4)]
    assert len({run.path for run in runs}) == 4
    assert [run.id for run in list_runs(runs[0].path.parent)] == [run.id for run in reversed(runs)]


def test_a_name_replaces_the_end_of_the_id(tmp_path):
    config = load_config(None, [f"output={tmp_path}", "name=my-try"])
    assert re.fullmatch(r"\d{8}-\d{6}-my-try", RunFolder.create(config, []).id)


def test_an_output_that_is_a_file_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "file.txt").write_text("")
    output = tmp_path / "file.txt" / "runs"
    with pytest.raises(RunError) as caught:
        RunFolder.create(load_config(None, [f"output={output}"]), [])
    assert str(caught.value) == (
        f"cannot make a run folder in {output}: Not a directory; set output=FOLDER to a writable one"
    )


def test_state_changes_keep_what_they_do_not_name(run):
    started = run.status.started
    run.update("running", step=3)
    run.update("failed", error="no memory")
    assert (run.status.state, run.status.step, run.status.error) == ("failed", 3, "no memory")
    assert run.status.started == started
    assert run.status.updated > started


def test_an_error_that_is_no_text_is_recorded_all_the_same(run):
    run.log("cannot read caf\udce9.wav")
    run.update("failed", error="cannot read caf\udce9.wav")
    assert run.status.error == "cannot read caf\udce9.wav"
    assert "caf\\udce9.wav" in (run.path / "log.txt").read_text()


def test_a_running_run_without_its_process_was_killed(run):
    run.update("running", step=3)
    assert run.status.seen_state == "running"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert replace(run.status, pid=gone.pid).seen_state == "killed"
    assert replace(run.status, pid=gone.pid, host="another").seen_state == "running"
    assert replace(run.status, pid=gone.pid, state="finished").seen_state == "finished"


def test_a_run_in_use_by_another_process_cannot_be_claimed(run):
    atomic.write_json(run.path / "status.json", asdict(replace(run.status, state="running", pid=os.getppid())))
    with pytest.raises(RunError, match=f"in use by process {os.getppid()}; stop that one first"):
        run.claim()


def test_claiming_clears_away_what_a_crash_left(run):
    (run.path / "checkpoints" / ".step-000004.0123abcd").mkdir()
    run.update("interrupted", step=3)
    run.claim()
    assert names(run.path / "checkpoints") == []
    assert (run.status.state, run.status.step) == ("starting", 3)


def test_checkpoints_are_listed_only_when_complete(run):
    with pytest.raises(KeyError), run.checkpoints.save(1):
        raise KeyError
    save_checkpoint(run, 2)
    (run.path / "checkpoints" / ".step-000003.0123abcd").mkdir()
    assert [(c.step, c.size) for c in run.checkpoints.list()] == [(2, 2)]
    assert run.checkpoints.at(None).path == run.path / "checkpoints" / "step-000002"


def test_pruning_keeps_the_newest_checkpoints(run):
    for step in (10, 2, 30):
        save_checkpoint(run, step)
    run.checkpoints.prune(2)
    assert [c.step for c in run.checkpoints.list()] == [10, 30]
    run.checkpoints.prune(1)
    assert run.checkpoints.latest().step == 30
    assert names(run.path / "checkpoints") == ["step-000030"]


def test_pruning_leaves_the_protected_one(run):
    for step in (2, 10, 20, 30):
        save_checkpoint(run, step)
    run.checkpoints.prune(1, protect=10)
    assert [c.step for c in run.checkpoints.list()] == [10, 30]


def test_the_best_step_of_a_run_is_found_by_its_measure(run):
    output = run.path.parent
    with pytest.raises(RunError, match=r"was never evaluated after training began; set data\.eval and eval\.every"):
        resolve(f"{run.id}@best", output)
    for step, wer in ((0, 0.1), (5, 0.4), (10, 0.3)):
        run.save_eval("dev", step, {"wer": wer}, [{"id": "a"}])
    assert resolve(f"{run.id}@best", output) == (run, 10)


def test_a_checkpoint_that_is_not_there_names_those_that_are(run):
    with pytest.raises(RunError, match=r"has no checkpoint; set train\.save_every to keep some"):
        run.checkpoints.at(None)
    for step in (5, 10):
        save_checkpoint(run, step)
    with pytest.raises(RunError, match="has no checkpoint of step 7; it has steps 5, 10"):
        run.checkpoints.at(7)


def test_rollouts_keep_tokens_and_give_each_reward_part_a_column(run):
    run.write_rollouts(3, [row(3, 0, {"wer": -0.5, "length": 0.0}), row(3, 1, {"wer": -1.0})])
    table = pq.read_table(run.path / "rollouts" / "step-000003.parquet")
    names = "step example_id sample prompt reference text token_ids tokens logprobs reward reward_length reward_wer"
    assert table.column_names == [*names.split(), "advantages", "finish_reason", "audio", "columns"]
    first, second = table.to_pylist()
    assert first["token_ids"] == [5, 6, 2]
    assert first["logprobs"] == [-0.5, -0.25, -0.125]
    assert (second["reward_wer"], second["reward_length"]) == (-1.0, None)
    assert json.loads(first["columns"]) == {"room": "kitchen"}
    assert str(table.schema.field("logprobs").type) == "list<element: float>"


def test_rollouts_hold_frames_of_several_ids(run):
    frames = replace(row(4, 0, {}), token_ids=[5, 6, 2, 8], width=2, logprobs=[-0.5, -0.25], advantages=[0.5, 0.5])
    run.write_rollouts(4, [frames])
    first = pq.read_table(run.path / "rollouts" / "step-000004.parquet").to_pylist()[0]
    assert np.reshape(first["token_ids"], (-1, first["width"])).tolist() == [[5, 6], [2, 8]]


def test_copies_of_clips_are_bounded_and_written_once(run):
    wave = np.linspace(-1.5, 1.5, 800, dtype=np.float32)
    path = run.save_clip("set/one.wav", lambda: wave, 8000)
    assert path is not None
    copy, rate = soundfile.read(run.path / path)
    assert rate == 8000
    np.testing.assert_allclose(copy, np.clip(wave, -1, 1), atol=2 / 32768)
    assert run.save_clip("other/one.wav", lambda: wave, 8000) not in (None, path)
    assert run.save_clip("three", lambda: wave, 8000) is None
    assert run.save_clip("set/one.wav", lambda: wave, 8000) == path
    assert len([name for name in names(run.path / "audio") if name.endswith(".flac")]) == 2


def test_an_evaluation_is_found_again_and_replaced_by_its_like(run):
    for wer in (0.5, 0.25):
        folder = run.save_eval("noisy", 5, {"wer": wer}, [{"id": "b", "wer_errors": 2}, {"id": "a", "wer_errors": 1}])
    assert folder == run.path / "evals" / "step-000005-noisy"
    assert run.evals() == [{"set": "noisy", "step": 5, "wer": 0.25}]
    assert pq.read_table(folder / "rows.parquet").column("id").to_pylist() == ["b", "a"]


def test_set_names_cannot_leave_the_folder(run):
    folder = run.save_eval("../up", 1, {}, [{"id": "a"}])
    assert folder.parent == run.path / "evals"
    assert folder.name == "step-000001-..%2Fup"


def test_truncating_leaves_what_the_run_was_at_that_step(run):
    for step in (1, 2, 3, 4):
        run.log_metrics(step, {"reward": step / 10})
        run.log_timings(step, {"seconds": 0.5})
        run.log_gate(step, {"passed": True})
        run.log_guard(step, {"worse": 0})
        run.write_rollouts(step, [row(step, 0, {})])
        save_checkpoint(run, step)
        run.save_eval("dev", step, {"wer": 0.1}, [{"id": "a"}])
    run.truncate_after(2)
    assert run.metrics() == [{"step": 1, "reward": 0.1}, {"step": 2, "reward": 0.2}]
    assert [line["step"] for line in run.timings()] == [1, 2]
    assert [line["step"] for line in run.gate()] == [1, 2]
    assert [line["step"] for line in run.guard()] == [1, 2]
    assert names(run.path / "rollouts") == ["step-000001.parquet", "step-000002.parquet"]
    assert [c.step for c in run.checkpoints.list()] == [1, 2]
    assert [summary["step"] for summary in run.evals()] == [1, 2]


def test_the_newest_answers_that_are_audio_are_kept(run):
    hum = Audio(np.ones(80, np.float32) / 2, 8000)
    assert run.save_answer(1, "a/1-0", Audio(np.zeros(0, np.float32), 8000)) is None
    kept = [
        run.save_answer(step, name, hum) for step, name in ((1, "a/1-0"), (2, "b"), (3, "a/1-0"), (3, "b"), (3, "c"))
    ]
    assert kept[-1] is None, "train.audio_copies is 2"
    assert [f"audio/answers/{name}" for name in names(run.path / "audio" / "answers")] == sorted(kept[2:4])
    assert soundfile.info(run.path / kept[2]).samplerate == 8000
    assert run.save_answer(3, "b", hum) == kept[3]
    assert run.save_eval_answer(2, "dev-a", hum).startswith("audio/evals/answers/step-000002-dev-a-")
    run.truncate_after(2)
    assert names(run.path / "audio" / "answers") == []
    assert len(names(run.path / "audio" / "evals" / "answers")) == 1


def test_a_run_is_found_by_id_path_step_and_latest(config):
    old, new = RunFolder.create(config, []), RunFolder.create(config, [])
    output = old.path.parent
    assert resolve(old.id, output) == (old, None)
    assert resolve(f"{old.id}@40", output) == (old, 40)
    assert resolve(str(old.path), output.parent) == (old, None)
    assert resolve("latest", output) == (new, None)
    assert resolve("latest@3", output) == (new, 3)
    assert find_run("Qwen/Qwen3-ASR-1.7B-hf", output) is None
    assert find_run("", output) is None


def test_an_unknown_run_gets_the_nearest_id(run):
    with pytest.raises(RunError, match=f"did you mean '{run.id}'"):
        resolve(f"{run.id[:-1]}@3", run.path.parent)
    with pytest.raises(RunError, match="there are no runs in"):
        resolve("latest", run.path / "audio")


def test_a_folder_that_is_no_run_is_not_opened(tmp_path, run):
    with pytest.raises(RunError, match=r"is not a run folder \(no status.json in it\)"):
        RunFolder.open(tmp_path)
    assert RunFolder.open(run.path).config == run.config


def test_steps_are_named_with_six_digits_or_more():
    assert [step_name(7), step_name(1_234_567)] == ["step-000007", "step-1234567"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="zombies are told apart by /proc")
def test_a_killed_process_that_nobody_has_waited_for_is_gone():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    status = Status("running", step=1, steps=2, started=now(), pid=process.pid)
    assert status.seen_state == "running"
    process.kill()
    for _ in range(100):
        if status.seen_state == "killed":
            break
        time.sleep(0.02)
    assert status.seen_state == "killed"
    process.wait()
