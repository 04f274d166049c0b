"""What saves memory changes no number, for every architecture."""

from dataclasses import replace

import numpy as np
import pytest
import subjects
import torch
from helpers import relative_difference, take_gradients

from antiphon.errors import ConfigError, ModelError
from antiphon.models.feature_cache import cache_features
from antiphon.models.recompute import recompute_activations
from antiphon.models.submodules import freeze, parts


@pytest.fixture(scope="module", params=subjects.SUBJECTS)
def subject(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield subjects.make(request.param, tmp_path_factory.mktemp("model"), patch)


def learn(subject) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Log-probabilities, gradients, and the bytes that the forward pass kept for the backward pass."""
    tokens, mask = subject.completions(4)
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logprobs = subject.policy.logprobs(subject.policy.encode(subject.prompts), tokens, mask, 1.0)
    (logprobs * torch.linspace(-1, 1, logprobs.numel()).view(logprobs.shape)).sum().backward()
    return logprobs.detach(), take_gradients(subject.policy.model), sum(kept.values())


def test_activations_computed_again_give_the_same_numbers_and_take_less_room(subject):
    logprobs, gradients, kept = learn(subject)
    recompute_activations(subject.policy.model)
    again, same_gradients, less = learn(subject)
    assert again.equal(logprobs)
    assert same_gradients.keys() == gradients.keys()
    assert all(same_gradients[name].equal(gradient) for name, gradient in gradients.items())
    assert less < 0.8 * kept


def test_a_model_without_layers_is_refused():
    with pytest.raises(ModelError, match="layers of Sequential cannot be found"):
        recompute_activations(torch.nn.Sequential(torch.nn.Linear(2, 2)))


def encoder_runs(policy) -> list[int]:
    """A list that grows with every pass of the audio encoder."""
    runs: list[int] = []
    encoder = policy.model.get_submodule(parts(policy.model)["audio_encoder"][0])
    encoder.register_forward_hook(lambda module, args, output: runs.append(1))
    return runs


def test_features_of_a_frozen_encoder_are_computed_once(subject):
    policy, prompts = subject.policy, subject.prompts
    if isinstance(subject, subjects.Text | subjects.Remote | subjects.Label):
        with pytest.raises(ModelError, match="no separate audio encoder"):
            cache_features(policy, 1)
        return
    with pytest.raises(ConfigError, match=r"encoder is trained .* set freeze: \[audio_encoder"):
        cache_features(policy, 1)
    freeze(policy.model, [part for part in ("audio_encoder", "projector") if part in parts(policy.model)])
    plain, gradients, _ = learn(subject)
    runs = encoder_runs(policy)

    cache_features(policy, 1)
    first, first_gradients, _ = learn(subject)
    assert len(runs) == len(prompts)
    again, again_gradients, _ = learn(subject)
    assert len(runs) == len(prompts)

    assert (first - plain).abs().max() <= 1e-5
    assert relative_difference(first_gradients, gradients) <= 1e-5
    assert again.equal(first)
    assert all(again_gradients[name].equal(gradient) for name, gradient in first_gradients.items())

    # What is kept of a clip does not depend on the clips it was first met with: so a resumed run has the same.
    cache_features(policy, 1)
    for prompt in reversed(prompts):
        policy.encode([prompt])
    resumed, _, _ = learn(subject)
    assert len(runs) == 2 * len(prompts)
    assert resumed.equal(first)

    # Noise makes another clip of it, new weights other features.
    policy.encode([replace(prompts[0], waveform=prompts[0].waveform + np.float32(1e-3))])
    assert len(runs) == 2 * len(prompts) + 1
    policy.model.load_state_dict(policy.model.state_dict())
    policy.encode(prompts)
    assert len(runs) == 3 * len(prompts) + 1
