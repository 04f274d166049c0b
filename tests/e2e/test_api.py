"""The Python API from end to end: train, list, serve, ask, judge; and runs in processes of their own.

The class and the two functions are written as the audio tutorial of another gym writes them, for such code is to work
here as it is, with the names of its model and recipe changed.
"""

import asyncio
import base64
import io
import os
import signal
from types import SimpleNamespace

import httpx2
import jiwer
import numpy as np
import openai
import pytest
import soundfile
import torch
from score_files import read_score_rows, read_scores
from serving import save_text_model, served

from antiphon import (
    AudioEvalRowResult,
    DeploymentConfig,
    EvalConfig,
    ModelDeployment,
    MultimodalDataset,
    Recipe,
    TrainConfig,
    TrainingGroup,
    list_checkpoints,
)
from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import AudioError, ConfigError, RunError
from antiphon.models.load import load_policy
from antiphon.serve.process import Instance

INSTRUCTION = "<audio>\nTranscribe the speech to text. Respond with only the transcript."


class SpokenDigits(MultimodalDataset):
    modality = "audio"
    n_rows = 8
    always_prepare = True
    apply_chat_template = False

    def __init__(self, **kwargs):
        super().__init__(rows=[], **kwargs)

    def _build_rows(self):
        rows = []
        for example in builtin_set("digits-reverb")[: self.n_rows]:
            buffer = io.BytesIO()
            soundfile.write(buffer, example.clip.load(16000), 16000, format="WAV")
            uri = "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
            rows.append({self.input_key: INSTRUCTION, self.media_column: [uri], self.label_key: example.text})
        return rows

    def load(self, split="all"):
        return self._build_rows()

    def prepare(self, path, eval_paths=None):
        rows = self._build_rows()
        self._write_jsonl(rows, path)
        if eval_paths:
            for eval_path in eval_paths.values():
                self._write_jsonl(rows, eval_path)


async def word_error_rate_reward(args, sample, **kwargs) -> float:
    response = (getattr(sample, "response", "") or "").lower().strip()
    reference = (getattr(sample, "label", "") or "").lower().strip()
    return -float(jiwer.wer(reference, response)) if reference else 0.0


def impossible_reward(sample):
    raise LookupError("no reward today")


def transcribe_and_score(deployment: ModelDeployment, example: dict) -> AudioEvalRowResult:
    uri, reference = example["audios"][0], example["label"]
    response = httpx2.post(
        f"{deployment.url}/v1/audio/transcriptions",
        files={"file": ("clip.wav", base64.b64decode(uri.split(",", 1)[1]), "audio/wav")},
        data={"model": deployment.deployment_config.served_model_name, "temperature": "0.0"},
        timeout=120,
    )
    response.raise_for_status()
    hypothesis = response.json()["text"]
    wer = float(jiwer.wer(reference, hypothesis))
    return AudioEvalRowResult(
        score=max(0.0, 1.0 - wer),
        response=hypothesis,
        prompt=example["prompt"],
        audio=uri,
        reference=reference,
        metrics={"wer": wer},
    )


def recipe(reward=word_error_rate_reward, steps=4, **further) -> Recipe:
    return Recipe(
        "grpo",
        reward=reward,
        rollout={"prompts_per_step": 4, "group_size": 4, "max_new_tokens": 16},
        optimizer={"lr": 2e-4},
        train={"steps": steps, "save_every": 2},
        device="cpu",
        threads=1,
        **further,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield tmp_path_factory.mktemp("api") / "runs"


@pytest.fixture(scope="module")
def result(output):
    dataset = SpokenDigits()
    config = TrainConfig("builtin:student", dataset, recipe(), eval_dataset=dataset, output=output)
    return config.train(quiet=True)


@pytest.fixture(scope="module")
def deployment(result, output):
    checkpoint = list_checkpoints(result.training_run_id, output)[-1]
    config = DeploymentConfig(model="builtin:student", checkpoint=checkpoint, options={"threads": 1})
    with config.serve(wait=False) as deployment:
        yield deployment
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(deployment.url)


def test_training_leaves_checkpoints(result, output):
    assert [one.step for one in list_checkpoints(result.training_run_id, output)] == [2, 4]
    assert list_checkpoints(result) == list_checkpoints(result.run.path)
    assert result.run.config.reward == f"{__name__}:word_error_rate_reward"
    assert set(result.before) == set(result.after) == {"SpokenDigits-eval"}
    metrics = result.run.metrics()
    assert len(metrics) == 4
    assert all(-1.5 < one["reward_mean"] <= 0 for one in metrics)


def test_a_tutorials_evaluation_of_a_checkpoint(result, deployment, capsys):
    deployment.wait_until_ready()
    found = EvalConfig(dataset=SpokenDigits(), eval_fn=transcribe_and_score).evaluate(deployment, debug=True)
    mean_wer = sum(row.metadata["metrics"]["wer"] for row in found.rows) / len(found.rows)
    assert found.total == 8
    assert found.metrics["wer"] == pytest.approx(mean_wer)
    assert 0 <= found.mean <= 1
    assert [row.metadata["reference"] for row in found.rows] == [one.text for one in builtin_set("digits-reverb")[:8]]
    assert capsys.readouterr().err.count("row ") == 8
    assert found.path.parent == result.run.path / "evals"
    assert (read_scores(found.path)["step"], read_scores(found.path)["n"]) == (4, 8)
    row = read_score_rows(found.path)[0]
    assert row["response"] == found.rows[0].response
    assert (found.path / row["audio"]).read_bytes()[:4] == b"RIFF"


def test_functions_may_be_async_and_fail_for_a_row(deployment):
    async def exact(deployment, example):
        if example["label"] == builtin_set("digits-reverb")[2].text:
            deployment.transcribe("nowhere.wav")
        heard = await asyncio.to_thread(deployment.transcribe, example["audios"])
        return float(heard == example["label"])

    found = EvalConfig(SpokenDigits(n_rows=4), exact).evaluate(deployment, max_concurrency=2)
    assert [row.score is None for row in found.rows] == [False, False, True, False]
    assert found.rows[2].error.startswith("AudioError: nowhere.wav: cannot be read")


def test_a_deployment_is_asked_in_many_ways(deployment, tmp_path):
    clip = builtin_set("digits-clean")[0].clip.load(16000)
    soundfile.write(tmp_path / "clip.flac", clip, 16000, subtype="PCM_24")
    text = deployment.transcribe((clip, 16000))
    assert text == deployment.transcribe(tmp_path / "clip.flac") == deployment.transcribe(str(tmp_path / "clip.flac"))
    assert text in deployment.generate(audio=tmp_path / "clip.flac")
    client = openai.OpenAI(base_url=f"{deployment.url}/v1", api_key="none")
    assert [one.id for one in client.models.list()] == ["builtin:student"]


def test_what_a_deployment_refuses_is_said(deployment):
    with pytest.raises(AudioError, match="is not a recording; give a path"):
        deployment.transcribe(7)
    with pytest.raises(RunError, match=r"'builtin:student' at http.*status 400: .*not a recording"):
        deployment.transcribe(b"RIFF and nothing else that could be read")
    with pytest.raises(RunError, match="0 input_audio parts"):
        deployment.generate("Hi")


def test_a_server_that_does_not_start_says_why(output):
    deployment = DeploymentConfig("builtin:student", options={"max_request": 3}).serve(wait=False)
    with pytest.raises(RunError, match=r"(?s)the server ended with status 2; its log .*No such option: --max-request"):
        deployment.transcribe((np.zeros(16000), 16000))
    deployment.stop()


def test_a_text_model_is_trained_and_asked(output, tmp_path):
    class Questions(MultimodalDataset):
        modality = "text"

    rows = [{"prompt": f"Say {word}.", "label": word} for word in ("one", "two", "six", "ten")]
    config = TrainConfig(
        save_text_model(tmp_path / "model"),
        Questions(rows=rows),
        Recipe(
            reward=lambda sample: float(len(sample.response)),
            rollout={"prompts_per_step": 2, "group_size": 4, "max_new_tokens": 6},
            train={"steps": 1},
        ),
        output=output,
    )
    result = config.train(quiet=True)
    assert result.run.config.task == "text"
    policy = load_policy(os.fspath(list_checkpoints(result)[-1]), torch.device("cpu"), torch.float32)
    with served(policy) as server:
        process = SimpleNamespace(poll=lambda: 0, wait=lambda patience: 0)
        deployment = ModelDeployment(DeploymentConfig("tiny"), process, int(server.url.rpartition(":")[2]))
        deployment._instance = Instance("tiny", "tiny", "127.0.0.1", 0, 0, 0.0, [])
        answer = deployment.generate("Say one.", max_tokens=6)
        assert answer == deployment.generate([{"role": "user", "content": "Say one."}], max_tokens=6)
        assert answer != deployment.generate("Say one.", max_tokens=6, temperature=2.0, seed=3)
        found = EvalConfig(rows, lambda deployment, row: len(deployment.generate(row["prompt"], max_tokens=2)))
        assert found.evaluate(deployment).total == 4
        with pytest.raises(ConfigError, match="got a conversation and audio"):
            deployment.generate([{"role": "user", "content": "Hm?"}], audio="clip.wav")
        deployment.stop()


def test_a_run_is_continued_with_more_steps_and_not_with_another_model(result, output):
    dataset = SpokenDigits()
    more = TrainConfig("builtin:student", dataset, recipe(steps=6), eval_dataset=dataset, output=output)
    continued = more.train(resume=result.training_run_id, quiet=True)
    assert continued.training_run_id == result.training_run_id
    assert [one.step for one in list_checkpoints(continued.run)] == [2, 4, 6]
    other = TrainConfig("builtin:teacher", dataset, recipe(steps=6), output=output)
    with pytest.raises(RunError, match="trains builtin:student; start a new run to train builtin:teacher"):
        other.launch(resume=result.training_run_id)


def test_runs_in_processes_of_their_own(output):
    """One that ends well, one that is stopped, and one that fails, side by side."""
    config = TrainConfig("builtin:student", [*SpokenDigits().load()], recipe(), output=output)
    fine = config.launch()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As in a shell's background jobs.
    long = TrainConfig("builtin:student", SpokenDigits(), recipe(steps=5000), output=output).launch()
    signal.signal(signal.SIGINT, handler)
    failing = TrainConfig("builtin:student", SpokenDigits(), recipe(impossible_reward), output=output).launch()
    assert not fine.done()
    assert failing.checkpoints() == []
    with pytest.raises(TimeoutError, match=r"still training after 0.01 s; it continues"):
        long.result(timeout=0.01)
    assert len({fine.training_run_id, long.training_run_id, failing.training_run_id}) == 3
    long.stop()
    assert long.run.status.state == "interrupted"
    with pytest.raises(RunError, match="no result; its log"):
        long.result()
    with pytest.raises(RunError, match=r"(?s)ended with status 2 and no result.*LookupError: no reward today"):
        failing.result(timeout=120)
    assert failing.run.status.state == "failed"
    result = fine.result(timeout=120)
    assert result.training_run_id == fine.training_run_id
    assert fine.checkpoints() == list_checkpoints(fine.training_run_id, output) == list_checkpoints(fine)
    assert [one.step for one in fine.checkpoints()] == [2, 4]
    assert result.run.config.data.train[0] == config.config().data.train[0]


def test_a_sweep_in_this_process(output, speech):
    base = TrainConfig(
        "builtin:student",
        str(speech / "train.jsonl"),
        recipe(reward="wer", steps=1, eval={"before": False}, gate={"enabled": False}),
        eval_dataset=str(speech / "dev.jsonl"),
        output=output / "sweep",
    )
    group = TrainingGroup(base, {"optimizer.lr": [1e-5, 1e-4], "rollout.prompts_per_step": [2, 100]})
    table = group.run(quiet=True)
    assert [row.value is None for row in table.rows] == [False, False, True, True]
    assert "fewer than rollout.prompts_per_step=100" in str(table)
    assert {row.run.id for row in table.rows[:2]} == {row.run.id for row in group.run(quiet=True).rows[:2]}
