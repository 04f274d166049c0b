"""Distillation from end to end: from another process, from tokens of another kind, beside a reward; calibration."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from processes import start_script
from serving import served

from antiphon.config import Config, load_config
from antiphon.errors import ConfigError, ModelError
from antiphon.models.load import CHECKPOINTS, builtin_names, load_policy
from antiphon.run.calibration import calibrate
from antiphon.run.train import train

SMALL = (
    "model=builtin:student",
    "rollout.prompts_per_step=2",
    "rollout.group_size=2",
    "rollout.max_new_tokens=12",
    "train.steps=2",
    "gate.enabled=false",
    "eval.before=false",
    "eval.after=false",
    "threads=1",
    "device=cpu",
)
VOCABULARY = json.loads((CHECKPOINTS / "teacher" / "config.json").read_text())["text_config"]["vocab_size"]


def recipe(speech: Path, *overrides: str) -> Config:
    return load_config(overrides=[f"data.train={speech / 'train.jsonl'}", *SMALL, *overrides])


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """The address of a server of `builtin:teacher`, in a process of its own."""
    folder = tmp_path_factory.mktemp("server")
    port_file = folder / "port"
    script = Path(__file__).with_name("prompt_logprobs_server.py")
    process = start_script(script, "builtin:teacher", port_file, folder=folder)
    try:
        until = time.monotonic() + 120
        while not (port_file.exists() and port_file.read_text()):
            assert process.is_alive(), (folder / "stderr").read_text()
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port_file.read_text()}/v1"
    finally:
        process.terminate()
        process.join()


@pytest.mark.parametrize("temperature", ["0.0", "1.0"])
@pytest.mark.parametrize("loss", ["forward_kl", "sampled"])
def test_a_teacher_on_a_server_says_what_it_says_in_this_process(speech, server, loss, temperature):
    """Asked for its whole vocabulary, over clips sent as WAV and answers sent as text."""
    greedy = () if temperature == "1.0" else ("rollout.group_size=1",)
    algorithm = f"algorithm={{name: opd, loss: {loss}, top_k: {'null' if loss == 'sampled' else VOCABULARY}}}"
    shared = (algorithm, f"rollout.temperature={temperature}", *greedy)
    here = calibrate(recipe(speech, *shared, "teacher=builtin:teacher")).metrics
    away = calibrate(recipe(speech, *shared, f"teacher={{url: '{server}', top_k: {VOCABULARY - 1}}}")).metrics
    if temperature == "0.0":  # greedy answers are tokenized as they were emitted
        assert away["teacher_aligned_share"] == 1.0
        assert away["divergence"] == pytest.approx(here["divergence"], rel=1e-4, abs=1e-5)
    assert away["teacher_aligned_share"] > 0.8
    assert {name for name in here if name not in away} == set()


def test_a_server_that_refuses_or_is_not_there_is_named(speech, server):
    with pytest.raises(ModelError, match=r"(?s)teacher http.*status 400.*max_logprobs.*teacher\.top_k"):
        calibrate(recipe(speech, "algorithm=opd", f"teacher={{url: '{server}', top_k: 100000}}"))
    with pytest.raises(ModelError, match=r"did not answer the list of its models in 1 try \(ConnectError"):
        calibrate(recipe(speech, "algorithm=opd", "teacher={url: 'http://127.0.0.1:9/v1', retries: 0}"))
    with pytest.raises(ModelError, match=r"serves teacher; name one of them as teacher\.model"):
        calibrate(recipe(speech, "algorithm=opd", f"teacher={{url: '{server}', model: another}}"))
    with pytest.raises(ConfigError, match=r"at temperature 1, but 'rollout\.temperature' is 0\.7"):
        calibrate(recipe(speech, "algorithm=opd", f"teacher={{url: '{server}'}}", "rollout.temperature=0.7"))


def test_a_teacher_behind_our_server_is_asked_with_its_key(speech, tmp_path, monkeypatch):
    algorithm = ("algorithm={name: opd, loss: sampled}", "rollout.temperature=0.0", "rollout.group_size=1")
    here = calibrate(recipe(speech, *algorithm, "teacher=builtin:teacher")).metrics
    monkeypatch.delenv("ANTIPHON_API_KEY", raising=False)
    with served(load_policy("builtin:teacher", torch.device("cpu"), torch.float32), api_key="s3cret") as server:
        keyless = recipe(speech, *algorithm, f"teacher={{url: '{server.url}/v1'}}", f"output={tmp_path}")
        with pytest.raises(ModelError, match=r"status 401.*set the environment variable ANTIPHON_API_KEY"):
            calibrate(keyless)
        named = recipe(speech, *algorithm, f"teacher={{url: '{server.url}/v1', api_key_env: MY_KEY}}")
        with pytest.raises(ConfigError, match=r"'teacher\.api_key_env' is 'MY_KEY', but there is no such"):
            calibrate(named)
        monkeypatch.setenv("MY_KEY", "s3cret")
        assert calibrate(named).metrics["divergence"] == pytest.approx(here["divergence"], rel=1e-4, abs=1e-5)
        monkeypatch.setenv("ANTIPHON_API_KEY", "s3cret")
        folder = train(keyless).run.path
    assert all(b"s3cret" not in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_reward_and_a_teacher_share_one_run(speech, tmp_path):
    """Two losses summed over the same rollouts, and two teachers of which one is the student itself."""
    summed = recipe(
        speech,
        "algorithm=[{name: grpo, teacher_coefficient: 0.5}, {name: opd, weight: 0.5}]",
        "teacher=[{model: builtin:teacher, weight: 3}, builtin:student]",
        f"output={tmp_path}",
    )
    run = train(summed).run
    metrics = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    timings = [json.loads(line) for line in (run.path / "timings.jsonl").read_text().splitlines()]
    assert [row["teacher_aligned_share"] for row in metrics] == [1.0, 1.0]
    assert all(row["opd/divergence"] > 0 and "reward_mean" in row and row["grad_norm"] > 0 for row in metrics)
    assert all(32 <= row["opd/valid_topk_mean"] <= 64 for row in metrics)
    assert all(row["teacher"] > 0 for row in timings)


def test_calibration_makes_no_step_and_no_run(cli, speech, tmp_path):
    asked = ["train", *SMALL, "--data", speech / "train.jsonl", "--output", tmp_path / "runs", "--calibrate"]
    asked += ["--algorithm", "opd", "teacher=builtin:teacher", "--calibrate-steps", "2"]
    said = cli(*asked, "--json").json
    assert said["steps"] == 2
    expected = {"valid_topk_mean", "teacher_aligned_share", "empty_share", "truncated_share", "loss", "tokens_mean"}
    assert expected <= said["metrics"].keys()
    assert {"rollout", "teacher", "train"} <= said["seconds"].keys()
    assert not (tmp_path / "runs").exists()
    assert "no weights were updated" in cli(*asked).out


def test_what_cannot_be_compared_is_refused_before_the_run(speech):
    with pytest.raises(ConfigError, match=r"compares the 100000 most probable tokens, but the student has"):
        calibrate(recipe(speech, "algorithm={name: opd, top_k: 100000}", "teacher=builtin:teacher"))
    with pytest.raises(ConfigError, match=r"the algorithm learns from a teacher; name one"):
        calibrate(recipe(speech, "algorithm=opd"))
    with pytest.raises(ConfigError, match=r"grpo as configured learns from no teacher, so 'teacher' would do nothing"):
        calibrate(recipe(speech, "algorithm=grpo", "teacher=builtin:teacher"))
    with pytest.raises(ConfigError, match=r"leaves no token but those that stop"):
        calibrate(recipe(speech, "algorithm=opd", "teacher=builtin:teacher", "rollout.block_tokens_from=0"))
    with pytest.raises(ConfigError, match=r"a teacher in this process has no 'top_k'"):
        recipe(speech, "teacher={model: builtin:teacher, top_k: 3}")


@pytest.mark.skipif("whisper" not in builtin_names(), reason="there is no built-in Whisper yet")
def test_a_teacher_of_other_tokens_is_compared_by_text(speech):
    metrics = calibrate(
        recipe(speech, "algorithm={name: opd, loss: sampled}", "teacher=builtin:whisper", "rollout.temperature=0.5")
    ).metrics
    assert metrics["teacher_aligned_share"] > 0.9
    with pytest.raises(ConfigError, match=r"other tokens than .*set loss: sampled"):
        calibrate(recipe(speech, "algorithm=opd", "teacher=builtin:whisper"))


@pytest.mark.skipif("whisper" not in builtin_names(), reason="there is no built-in Whisper yet")
def test_a_teacher_that_names_languages_hears_the_one_that_is_not_given(speech, tmp_path):
    """Qwen3-ASR opens with the language: it judges untold clips as it judges those whose language is told."""
    rows = [json.loads(line) for line in (speech / "dev.jsonl").read_text().splitlines()]
    asked = ("model=builtin:whisper", "algorithm={name: opd, loss: sampled}", "teacher=builtin:teacher")
    found = []
    for name, language in (("told", {"language": "en"}), ("untold", {})):
        lines = [json.dumps({"id": row["id"], "audio": str(speech / row["audio"]), **language}) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        found.append(calibrate(recipe(tmp_path, f"data.train={tmp_path / name}.jsonl", *asked)).metrics["divergence"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
