"""A model that brings its own code: it runs only when trusted, and only if it follows the form."""

import pytest
import tiny_remote
import torch
from helpers import noise_prompts

from antiphon.errors import ModelError
from antiphon.models.load import load_policy
from antiphon.models.remote_lm import RemoteAudioLM
from antiphon.types import Prompt

SECONDS = (0.61, 1.37)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("remote")
    with pytest.MonkeyPatch.context() as patch:
        tiny_remote.keep_modules(patch)
        yield tiny_remote.publish(place)


@pytest.fixture(scope="module")
def policy(folder):
    return load_policy(str(folder), torch.device("cpu"), torch.float32, trust_remote_code=True)


def test_its_code_runs_only_when_trusted(folder, policy):
    with pytest.raises(ModelError, match="if you trust its author, set trust_remote_code: true"):
        load_policy(str(folder), torch.device("cpu"), torch.float32)
    assert isinstance(policy, RemoteAudioLM)
    assert type(policy.model).__module__.startswith("transformers_modules")


def test_saving_keeps_the_code(policy, tmp_path):
    policy.save(tmp_path)
    assert (tmp_path / "modeling_tiny_ark.py").is_file()


def test_what_does_not_follow_the_form_is_refused(folder, tmp_path):
    path = tmp_path / "scaled"
    path.symlink_to(folder)
    policy = load_policy(str(path), torch.device("cpu"), torch.float32, trust_remote_code=True)
    with pytest.raises(ModelError, match="'silent' has no audio"):
        policy.encode([Prompt("silent", None, 16000)])
    policy.model.config.head_factor = 2.0
    with pytest.raises(ModelError, match="are not its output layer applied to its last hidden state"):
        policy.encode(noise_prompts(SECONDS))
    policy.processor.apply_chat_template = lambda *_, **__: "text"
    with pytest.raises(ModelError, match="does not return `input_ids` and `audios`"):
        policy.encode(noise_prompts(SECONDS))
