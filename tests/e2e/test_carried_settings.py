"""Settings that every command takes: trust in a model's own code, and float16."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest
import soundfile
import tiny_remote
import uvicorn

from antiphon import DeploymentConfig
from antiphon.client.port import free_port
from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.run.train import train
from antiphon.serve import process

QUICK = ("eval.before=false", "eval.after=false", "gate.enabled=false", "device=cpu", "threads=1")
UNTRUSTED = "if you trust its author, set trust_remote_code: true (on the command line: --trust-remote-code)"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("carried")


@pytest.fixture(scope="module")
def model(place):
    """A folder with a model that brings its own code."""
    with pytest.MonkeyPatch.context() as patch:
        tiny_remote.keep_modules(patch)
        patch.setenv("HF_MODULES_CACHE", str(place / "modules"))
        yield tiny_remote.publish(place)


@pytest.fixture(scope="module")
def clip(place):
    example = builtin_set("digits-clean")[0]
    assert example.clip is not None
    soundfile.write(place / "clip.wav", example.clip.load(16000), 16000)
    return place / "clip.wav"


@pytest.fixture(scope="module")
def run(place, model, speech):
    """A run that trusts the model's code."""
    settings = (f"model={model}", "trust_remote_code=true", f"data.train={speech}/train.jsonl", f"output={place}/runs")
    small = ("rollout.prompts_per_step=1", "rollout.group_size=2", "rollout.max_new_tokens=4", "train.steps=1")
    return train(load_config(overrides=[*settings, *small, *QUICK])).run


COMMANDS = (
    ("transcribe", "MODEL", "CLIP", "--max-new-tokens", 4),
    ("eval", "MODEL", "--data", "builtin:digits-clean", "--limit", 1, "--max-new-tokens", 4),
    ("compare", "MODEL", "MODEL", "--data", "builtin:digits-clean", "--limit", 2, "--max-new-tokens", 4),
    ("models", "check", "MODEL", "--prompts", 1, "--max-new-tokens", 4),
)


@pytest.mark.parametrize("command", COMMANDS, ids=[one[0] for one in COMMANDS])
def test_code_of_a_model_runs_where_it_is_trusted_and_a_run_says_so_itself(cli, model, run, clip, command):
    def said(named, *more):
        return cli(*({"MODEL": named, "CLIP": clip}.get(one, one) for one in command), "--device", "cpu", *more)

    assert UNTRUSTED in said(model).err
    for shown in (said(model, "--trust-remote-code"), said(run.path), said(run.checkpoints.list()[-1].path)):
        assert shown.status in ((0, 1) if command[0] == "models" else (0,)), shown.err
        assert shown.out


def test_it_is_served_where_it_is_trusted(cli, model, run, monkeypatch):
    """The server would run until a signal comes; here it ends once its model is loaded."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda self: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    how = ("--device", "cpu", "--threads", 1, "--port", free_port())
    assert UNTRUSTED in cli("serve", model, *how).err
    for named in ((model, "--trust-remote-code"), (run.path,)):
        assert cli("serve", *named, *how).status == 0


@pytest.mark.parametrize("trusted", [True, False])
def test_a_deployment_hands_trust_on(monkeypatch, trusted):
    started: list[list[str]] = []
    ended = SimpleNamespace(poll=lambda: 0, wait=lambda patience: 0)
    monkeypatch.setattr(process, "start", lambda arguments, port: started.append(arguments) or ended)
    DeploymentConfig("m", trust_remote_code=trusted, options={"dtype": "float16"}).serve(wait=False).stop()
    assert ("--trust-remote-code" in started[0]) == trusted
    assert "--dtype=float16" in started[0]


@pytest.mark.parametrize("name", ["student", "whisper", "wav2vec2"])
def test_models_compute_in_float16(cli, clip, name):
    how = (f"builtin:{name}", clip, "--device", "cpu")
    assert cli("transcribe", *how, "--dtype", "float16").out == cli("transcribe", *how).out


def test_no_run_trains_in_float16(cli, speech):
    refused = cli("train", "--data", f"{speech}/train.jsonl", "--dtype", "float16")
    assert refused.status == 2
    assert "round small gradients to 0" in refused.err
