"""Training from end to end: what `antiphon train` prints, writes and leaves for others to load."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from conftest import COMMAND, REPOSITORY

from antiphon.audio.decode import read_audio
from antiphon.config import load_config
from antiphon.distributed.device import resolve_device
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.types import Prompt

RUN_FOLDER = (REPOSITORY / "docs" / "run-folder.md").read_text()


def documented(section: str) -> list[str]:
    """The names in the first column of a section's table in docs/run-folder.md."""
    body = RUN_FOLDER.split(f"\n## {section}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in body.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def rollouts(run, step: int) -> list[dict]:
    return pq.read_table(run.path / "rollouts" / f"step-{step:06d}.parquet").to_pylist()


def test_reward_rises_and_errors_fall(trained):
    rewards = [row["reward_mean"] for row in trained.run.metrics()]
    assert np.mean(rewards[-4:]) > 0.75 * rewards[0], f"a quarter fewer errors: {rewards}"


def test_the_json_of_a_process_is_the_only_line_on_stdout_and_its_contract_holds(recipe, speech, tmp_path):
    arguments = [*recipe, "data.eval=[builtin:digits-clean, " + f"{speech}/dev.jsonl]", "train.steps=2", "--json"]
    done = subprocess.run([*COMMAND, "train", *arguments], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.count("\n") == 1
    payload = json.loads(done.stdout)
    run = tmp_path / "runs" / payload["run"]
    assert payload["steps"] == 2
    assert payload["seconds"] > 0
    assert (tmp_path / payload["checkpoint"]).resolve() == (run / "checkpoints" / "step-000002").resolve()
    assert set(payload["eval"]) == {"before", "after"}
    for figures in payload["eval"].values():
        assert set(figures) == {"digits-clean", "dev"}
        for one in figures.values():
            low, high = one["ci"]
            assert 0 <= low <= one["wer"] <= high
            assert one["n"] == 2
    for line in done.stderr.splitlines():
        assert line.startswith("step "), f"not antiphon's own: {line!r}"


def test_the_result_of_the_function_is_what_the_run_folder_holds(trained):
    evals = {(one["step"], one["set"]): one for one in trained.run.evals()}
    assert set(evals) == {(0, "dev"), (8, "dev"), (16, "dev")}
    assert trained.before["dev"]["wer"] == evals[0, "dev"]["wer"]
    assert trained.after["dev"]["wer"] == evals[16, "dev"]["wer"]
    assert trained.checkpoint == trained.run.path / "checkpoints" / "step-000016"
    assert trained.to_dict()["run"] == trained.run.id


def test_every_documented_file_of_the_run_folder_is_there(trained):
    run = trained.run
    block = re.search(r"\n\n((?: {4}\S.*\n)+)", RUN_FOLDER)
    assert block
    for entry in re.findall(r"^ {4}(\S+)", block[1], flags=re.MULTILINE):
        if entry.startswith("trackers/") or "/answers/" in entry:
            continue  # This run has no trackers, and its answers are text.
        pattern = entry.rstrip(",").replace("NNNNNN", "0000*").replace("NAME", "*").replace("SET", "*")
        assert list(run.path.glob(pattern.rstrip("/"))), entry
    assert not list(run.path.rglob(".*")), "unfinished files"
    assert {path.name for path in run.path.iterdir()} <= set(re.findall(r"[\w.]+", block[1]))


def test_recipe_environment_and_status_read_back(trained):
    run = trained.run
    assert load_config(run.path / "config.yaml") == run.config
    environment = json.loads((run.path / "environment.json").read_text())
    assert list(environment) == documented("environment.json")
    assert environment["command"] == ["antiphon", "train"]
    assert torch.__version__.startswith(environment["packages"]["torch"])
    status = json.loads((run.path / "status.json").read_text())
    assert set(status) == set(documented("status.json"))
    assert (status["state"], status["step"], status["steps"], status["error"]) == ("finished", 16, 16, None)


def test_metrics_and_timings_have_a_line_a_step(trained):
    run = trained.run
    for name, rows in (("metrics.jsonl", run.metrics()), ("timings.jsonl", run.timings())):
        assert [row["step"] for row in rows] == list(range(1, 17)), name
        assert all(next(iter(row)) == "step" for row in rows)
        assert all(math.isfinite(value) for row in rows for value in row.values())
    first = run.metrics()[0]
    assert first["engine_difference_max"] < 1e-4, "what was sampled is what is trained"
    assert first["lr"] == 2e-4


def test_the_log_says_what_happened(trained):
    lines = (trained.run.path / "log.txt").read_text().splitlines()
    assert "8 examples" in lines[0]
    assert "step 0: dev: wer" in lines[1]
    assert lines[-1].endswith("finished 16 steps")


def test_only_the_newest_checkpoints_are_kept(trained):
    assert [one.step for one in trained.run.checkpoints.list()] == [12, 16]


def test_evaluation_rows_are_kept_worst_first(trained):
    rows = trained.run.eval_rows("dev", 16)
    errors = [row["wer_errors"] for row in rows]
    assert len(rows) == 6
    assert errors == sorted(errors, reverse=True)


def test_rollouts_have_the_documented_columns_and_a_row_a_completion(trained):
    table = pq.read_table(trained.run.path / "rollouts" / "step-000001.parquet")
    parts = [name for name in table.column_names if name.startswith("reward_")]
    assert parts == ["reward_edits", "reward_wer"]
    assert set(table.column_names) - set(parts) == {
        name
        for name in documented("rollouts/step-NNNNNN.parquet")
        if name not in ("reward_<part>", "width", "answer_audio")
    }
    assert table.num_rows == 64
    groups = defaultdict(list)
    for row in table.to_pylist():
        groups[row["example_id"]].append(row["sample"])
    assert len(groups) == 8
    assert all(samples == list(range(8)) for samples in groups.values())


def test_rewards_and_advantages_of_rollouts_follow_from_their_rows(trained):
    metrics = {row["step"]: row for row in trained.run.metrics()}
    for step in (1, 16):
        rows = rollouts(trained.run, step)
        rewards = defaultdict(list)
        for row in rows:
            assert row["reward"] == pytest.approx(-min(row["reward_wer"], 1))
            rewards[row["example_id"]].append(row["reward"])
        for row in rows:
            expected = row["reward"] - np.mean(rewards[row["example_id"]])
            assert len(row["token_ids"]) == len(row["logprobs"]) == len(row["advantages"]) <= 16
            np.testing.assert_allclose(row["advantages"], expected, atol=1e-6)
            assert max(row["logprobs"]) <= 0
        assert metrics[step]["reward_mean"] == pytest.approx(np.mean([row["reward"] for row in rows]))


def test_rollouts_point_to_the_clips_that_were_heard(trained, speech):
    for row in rollouts(trained.run, 1):
        copy, rate = soundfile.read(trained.run.path / row["audio"], dtype="float32")
        assert rate == 16000
        original = read_audio(speech / f"{row['example_id']}.wav", 16000)
        np.testing.assert_allclose(copy, original, atol=2**-14)
        assert json.loads(row["columns"])["room"].startswith("r")


def test_logged_logprobs_are_those_of_the_model_that_sampled(trained, speech):
    policy = load_policy("builtin:student", resolve_device("cpu"), torch.float32)
    row = rollouts(trained.run, 1)[5]
    prompt = Prompt(row["example_id"], read_audio(speech / f"{row['example_id']}.wav", 16000), 16000)
    tokens = torch.tensor([row["token_ids"]])
    with torch.no_grad():
        values = policy.logprobs(policy.encode([prompt]), tokens, torch.ones_like(tokens, dtype=torch.float), 1.0)
    np.testing.assert_allclose(values[0].numpy(), row["logprobs"], atol=1e-4)
    assert (row["finish_reason"] == "stop") == (row["token_ids"][-1] in policy.stop_ids)


def test_a_checkpoint_is_a_model_for_transformers(trained, speech):
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    clip = read_audio(speech / "digits-clean-00001.wav", 16000)
    processor = AutoProcessor.from_pretrained(trained.checkpoint)
    model = AutoModelForMultimodalLM.from_pretrained(trained.checkpoint).eval()
    request = processor.apply_transcription_request(clip, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**request, max_new_tokens=16, do_sample=False)[0, request["input_ids"].shape[1] :]

    policy = load_policy(str(trained.checkpoint), resolve_device("cpu"), torch.float32)
    prompt = Prompt("one", clip, 16000)
    with torch.no_grad():
        [[completion]] = policy.sample(policy.encode([prompt]), 1, Sampling(0.0, 16))
    assert list(completion.token_ids) == ids.tolist()


@pytest.mark.parametrize("form", ["RUN", "RUN@STEP", "latest", "path"])
def test_a_run_is_a_model_for_eval_and_transcribe(trained, speech, cli, form):
    run = trained.run
    model = {"RUN": run.id, "RUN@STEP": f"{run.id}@16", "latest": "latest", "path": run.path}[form]
    places = ("--runs", run.path.parent)
    figures = cli("eval", model, "--data", f"{speech}/dev.jsonl", "--max-new-tokens", 16, *places, "--json").json["dev"]
    assert {key: figures[key] for key in ("wer", "ci", "n", "cer", "edits")} == {
        key: trained.after["dev"][key] for key in ("wer", "ci", "n", "cer", "edits")
    }
    if form == "RUN@STEP":
        shown = cli("transcribe", model, speech / "digits-clean-00001.wav", *places)
        row = next(row for row in run.eval_rows("dev", 16) if row["id"] == "digits-clean-00001")
        assert shown.out == row["pred_text"] + "\n"


def test_a_run_can_be_the_start_of_another(trained, small):
    from antiphon.run.train import train

    config = small(f"model={trained.run.path}@12", "train.steps=1", "eval.before=false", "eval.after=false")
    result = train(config)
    assert result.run.config.model == f"{trained.run.path}@12"
    assert result.before == {}
    assert Path(result.checkpoint).name == "step-000001"
