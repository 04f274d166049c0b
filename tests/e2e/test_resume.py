"""The same recipe is the same run, whether or not it was killed on the way."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from processes import run_and_kill

from antiphon.errors import AntiphonError, RunError
from antiphon.run.observers import Observer
from antiphon.run.resume import resumed_config
from antiphon.run.train import TrainResult, train
from antiphon.runs import RunFolder

SCHEDULED = ("optimizer.schedule=cosine", "optimizer.warmup_steps=2", "eval.every=3")


def assert_same(one: RunFolder, other: RunFolder) -> None:
    """Byte for byte where bytes are promised: metrics, weights, optimizer; value for value in the tables."""
    assert (one.path / "metrics.jsonl").read_bytes() == (other.path / "metrics.jsonl").read_bytes()
    kept = [run.checkpoints.latest() for run in (one, other)]
    contents = [{file.name: file.read_bytes() for file in of.path.glob("*.safetensors")} for of in kept if of]
    assert {"optimizer.safetensors"} < contents[0].keys() == contents[1].keys()
    for file, content in contents[0].items():
        assert content == contents[1][file], file
    assert len({(of.path / "trainer.json").read_bytes() for of in kept if of}) == 1
    steps = sorted(path.name for path in (one.path / "rollouts").iterdir())
    assert steps == sorted(path.name for path in (other.path / "rollouts").iterdir())
    for step in steps:
        tables = [pq.read_table(run.path / "rollouts" / step) for run in (one, other)]
        assert tables[0].equals(tables[1]), step
    figures = [[{**summary, "rtfx": 0} for summary in run.evals()] for run in (one, other)]
    assert figures[0] == figures[1]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def train_and_kill(config, after: int) -> RunFolder:
    """Trains in a process of its own and kills that, without warning, once `after` steps are recorded."""
    output = Path(config.output)
    recipe = output.parent / "recipe.yaml"
    recipe.write_text(config.to_yaml())

    def recorded() -> bool:
        return any(lines(path) >= after for path in output.glob("*/metrics.jsonl"))

    run_and_kill("train", recipe, folder=recipe.parent, when=recorded)
    (run,) = map(RunFolder, output.iterdir())
    assert run.status.seen_state == "killed"
    return run


def resume(run: RunFolder, spec: str, *overrides: str) -> TrainResult:
    """What `antiphon train --resume SPEC` does."""
    return train(resumed_config(spec, {"output": str(run.path.parent)}, overrides), resume=spec)


class Interrupted(Observer):
    """Ctrl-C right after a step is recorded."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.notes: list[str] = []

    def noted(self, message: str) -> None:
        self.notes.append(message)

    def stepped(self, step) -> None:
        if step.number == self.at:
            raise KeyboardInterrupt


def train_and_interrupt(config, at: int) -> RunFolder:
    reporter = Interrupted(at)
    with pytest.raises(KeyboardInterrupt):
        train(config, observers=[reporter])
    run = max(map(RunFolder, Path(config.output).iterdir()), key=lambda run: run.status.started)
    assert run.status.state == "interrupted"
    kept = run.checkpoints.latest()
    said = f"interrupted after step {at}; resuming {run.id} starts from step {kept.step if kept else 0}"
    assert reporter.notes[-1] == said
    return run


@pytest.fixture(scope="module")
def undisturbed(recipe, tmp_path_factory) -> RunFolder:
    from antiphon.config import load_config

    output = f"output={tmp_path_factory.mktemp('undisturbed')}/runs"
    return train(load_config(None, [*recipe, *SCHEDULED, output])).run


def test_a_recipe_run_twice_is_the_same_run(undisturbed, small):
    assert_same(train(small(*SCHEDULED)).run, undisturbed)


def test_another_seed_is_another_run(undisturbed, small):
    other = train(small(*SCHEDULED, "seed=1", "train.steps=1", "eval.before=false", "eval.after=false")).run
    assert other.metrics()[0]["reward_mean"] != undisturbed.metrics()[0]["reward_mean"]


def test_a_killed_run_resumes_to_the_end_it_would_have_had(undisturbed, small, cli):
    run = train_and_kill(small(*SCHEDULED), after=3)
    kept = run.checkpoints.latest()
    assert kept
    assert kept.step in (2, 3, 4)
    payload = cli("train", "--resume", "latest", "--output", run.path.parent, "--json").json
    assert payload["run"] == run.id
    assert payload["steps"] == 6
    assert payload["eval"]["before"].keys() == {"dev"}
    assert_same(run, undisturbed)
    assert f"resumed from step {kept.step}" in (run.path / "log.txt").read_text()
    assert not list(run.path.rglob(".*")), "what the crash left half-written is gone"


def test_a_run_killed_before_its_first_checkpoint_starts_over(undisturbed, small):
    run = train_and_kill(small(*SCHEDULED, "train.save_every=-1", "train.keep_best=false"), after=3)
    assert run.checkpoints.list() == []
    result = resume(run, run.id)
    assert [one.step for one in run.checkpoints.list()] == [6], "save_every=-1 saves at the end alone"
    assert result.run == run
    assert_same(run, undisturbed)


def test_features_remembered_of_a_frozen_encoder_outlive_a_kill_unchanged(small):
    """After the kill they are computed again in other company."""
    cached = ("freeze=[audio_encoder, projector]", "train.cache_features_mb=64", "eval.before=false")
    whole = train(small(*cached)).run
    run = train_and_kill(small(*cached, f"output={whole.path.parent.parent}/killed"), after=3)
    resume(run, "latest")
    assert_same(run, whole)


@pytest.mark.parametrize(
    "overrides",
    [
        ("train.minibatches=2", "train.epochs=2", "train.max_tokens_per_batch=100"),
        ("algorithm={name: grpo, beta: 0.1, std_normalization: true, normalization: sequence}",),
    ],
    ids=["minibatches and epochs", "KL to a reference"],
)
def test_resuming_from_an_earlier_step_repeats_what_followed(small, overrides, tmp_path):
    run = train(small(*overrides, "eval.before=false", "eval.after=false")).run
    finished = tmp_path / "finished"
    shutil.copytree(run.path, finished)
    resume(run, f"{run.id}@2")
    assert (run.path / "log.txt").read_text().count("resumed from step 2") == 1
    assert_same(run, RunFolder(finished))
    assert ("kl_reference" in run.metrics()[0]) == ("beta" in overrides[0])


@pytest.mark.parametrize(
    "overrides",
    [(), ("lora={rank: 4}",), ("lora={rank: 4, save: merged}",), ("dtype=bfloat16",)],
    ids=["whole", "adapters", "merged", "bf16"],
)
def test_the_head_of_an_auxiliary_ctc_loss_is_resumed_with_the_model(small, overrides, tmp_path):
    ctc = ("algorithm={name: sft, ctc_weight: 0.3}", "rollout.group_size=1", "train.steps=2", "train.save_every=1")
    run = train(small(*ctc, *overrides, "eval.before=false", "eval.after=false", "gate.enabled=false")).run
    finished = tmp_path / "finished"
    shutil.copytree(run.path, finished)
    resume(run, f"{run.id}@1")
    assert_same(run, RunFolder(finished))
    assert run.metrics()[-1]["ctc"] > 0
    assert (run.path / "checkpoints/step-000002/audio_ctc.safetensors").exists()


def test_more_steps_continue_a_finished_run(small):
    quick = ("eval.before=false", "eval.after=false")
    long = train(small(*quick)).run
    run = train(small(*quick, "train.steps=4", "name=short")).run
    resume(run, "latest", "train.steps=6")
    assert run.status.steps == 6
    assert RunFolder(run.path).config.train.steps == 6
    assert_same(run, long)


def test_auto_continues_an_unfinished_run_of_the_recipe_and_else_starts_one(small):
    config = small("eval.before=false", "eval.after=false", "train.steps=3")
    first = train_and_interrupt(config, at=3)
    assert [one.step for one in first.checkpoints.list()] == [2]
    assert train(config, resume="auto").run == first
    assert first.status.state == "finished"
    second = train(config, resume="auto").run
    assert second != first, "a finished run is not taken up again"
    third = train_and_interrupt(config, at=1)
    fourth = train(config.model_copy(update={"seed": 1}), resume="auto").run
    assert fourth not in (first, second, third), "another recipe is another run"


def test_a_run_that_another_process_is_training_is_not_touched(undisturbed, tmp_path):
    shutil.copytree(undisturbed.path, tmp_path / "runs" / "busy")
    run = RunFolder(tmp_path / "runs" / "busy")
    busy = replace(run.status, state="running", pid=os.getppid())
    (run.path / "status.json").write_text(json.dumps(asdict(busy)))
    before = (run.path / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match=f"in use by process {os.getppid()}; stop that one first"):
        resume(run, "busy@4")
    assert (run.path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("optimizer.safetensors", r"step-000006 cannot be resumed from: .*; resume from another step"),
        ("model.safetensors", r"cannot load model '.*step-000006'"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_run_left_as_it_was(undisturbed, tmp_path, file, message):
    shutil.copytree(undisturbed.path, tmp_path / "runs" / "torn")
    run = RunFolder(tmp_path / "runs" / "torn")
    damaged = run.path / "checkpoints" / "step-000006" / file
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(AntiphonError, match=message):
        resume(run, "torn")
    assert run.status == undisturbed.status


def test_what_cannot_be_resumed_is_said(undisturbed, cli):
    output = undisturbed.path.parent
    cases = {
        (f"{undisturbed.id[:-4]}",): f"no run '{undisturbed.id[:-4]}' in {output}; did you mean '{undisturbed.id}'?",
        (f"{undisturbed.id}@5",): "no checkpoint of step 5; it has steps 3, 4, 6",
        ("latest", "train.steps=4"): "has 6 steps behind it, more than train.steps=4; raise train.steps, or resume",
        ("latest", "--model", "builtin:other"): "trains builtin:student; start a new run to train builtin:other",
    }
    for (run, *more), message in cases.items():
        refused = cli("train", "--resume", run, "--output", output, *more)
        assert refused.status == 2
        assert message in refused.err
        assert refused.out == ""
    assert undisturbed.status.state == "finished", "a refusal leaves the run as it was"


def test_a_recipe_beside_resume_is_refused(cli, undisturbed):
    refused = cli("train", "recipe.yaml", "--resume", "latest", "--output", undisturbed.path.parent)
    assert refused.status == 2
    assert "--resume continues a run with its own recipe; leave the recipe out" in refused.err


def test_resuming_where_there_are_no_runs(cli, tmp_path):
    refused = cli("train", "--resume", "latest", "--output", tmp_path)
    assert refused.status == 2
    assert f"no run 'latest': there are no runs in {tmp_path}; give another folder with --output" in refused.err
