"""Classifier policies: the whole distribution over labels, and what is refused."""

import copy

import numpy as np
import pytest
import tiny_ctc
import torch
from helpers import audible, noise_prompts, relative_difference, take_gradients
from tiny_classifier import BUILDERS, LABELS, ast, hubert_layer, whisper
from transformers import HubertConfig

from antiphon.errors import ConfigError, ModelError
from antiphon.models.classifier import Classifier
from antiphon.models.ctc import CTC
from antiphon.models.policy import Sampling
from antiphon.rollout.all_labels import AllLabels
from antiphon.types import Prompt

SECONDS = (0.41, 0.2, 0.3234)


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda build: build.__name__)
def policy(request) -> Classifier:
    model, extractor = request.param()
    return Classifier(audible(model), extractor)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return noise_prompts(SECONDS)


def their_scores(policy: Classifier, prompt: Prompt, temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities [C] by transformers' own feature extractor and forward on one clip."""
    inputs = policy.feature_extractor([prompt.waveform], sampling_rate=16000, return_tensors="pt")
    return (policy.model(**inputs).logits[0].float() / temperature).log_softmax(-1)


def test_label_logprobs_are_those_of_every_label(policy, prompts):
    with torch.no_grad():
        ours = policy.label_logprobs(policy.encode(prompts), 0.7)
        theirs = torch.stack([their_scores(policy, prompt, 0.7) for prompt in prompts])
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(ours.exp().sum(-1), torch.ones(len(prompts)))


@pytest.fixture(scope="module")
def hubert() -> Classifier:
    model, extractor = hubert_layer()
    return Classifier(audible(model), extractor)


def test_samples_come_as_often_as_their_probability_says(hubert, prompts):
    n = 20000
    uniforms = np.random.default_rng(0).random((n, 1))
    with torch.no_grad():
        prefix = hubert.encode(prompts[:1])
        (group,) = hubert.sample(prefix, n, Sampling(0.5, 1), uniforms)
        probabilities = hubert.label_logprobs(prefix, 0.5).exp()[0].double().numpy()
    counts = np.bincount([completion.token_ids[0] for completion in group], minlength=len(LABELS))
    assert (np.abs(counts - n * probabilities) < 4.5 * np.sqrt(n * probabilities * (1 - probabilities))).all()


def test_the_expected_reward_is_the_mean_over_samples_and_carries_the_policy_gradient(hubert, prompts):
    rewards = torch.randn(len(prompts), len(LABELS), generator=torch.Generator().manual_seed(4))
    value = hubert.expected_reward(hubert.encode(prompts), rewards, temperature=0.8)
    value.sum().backward()
    exact = take_gradients(hubert.model)
    scores = hubert.label_logprobs(hubert.encode(prompts), 0.8)
    (scores.exp().detach() * rewards * scores).sum().backward()  # Σ p R ∇log p
    assert relative_difference(exact, take_gradients(hubert.model)) <= 1e-5
    assert torch.allclose(value, (scores.exp() * rewards).sum(-1))


def test_blocked_labels_have_no_probability(hubert, prompts):
    narrow = Classifier(hubert.model, hubert.processor, block_tokens=[0, 3])
    prefix = narrow.encode(prompts)
    scores = narrow.label_logprobs(prefix)
    assert scores[:, [0, 3]].isneginf().all()
    assert torch.allclose(scores.exp().sum(-1), torch.ones(len(prompts)))
    narrow.expected_reward(prefix, torch.ones(len(prompts), len(LABELS))).sum().backward()
    assert all(gradient.isfinite().all() for gradient in take_gradients(hubert.model).values())
    sampled = narrow.sample(prefix, 50, Sampling(2.0, 1), np.random.default_rng(0).random((150, 1)))
    assert not {"yes", "down"} & {completion.text for group in sampled for completion in group}


@pytest.mark.parametrize(("build", "seconds"), [(ast, (400 + 160 * 48) / 16000), (whisper, 16001 / 16000)])
def test_a_clip_longer_than_the_window_is_refused_and_not_cut(build, seconds):
    model, extractor = build()
    policy = Classifier(model, extractor)
    longest, longer = noise_prompts([seconds - 1 / 16000, seconds])
    assert policy.encode([longest]).isfinite().all()
    with pytest.raises(ModelError, match=r"'p1' has \d\.\d+ s of audio, but this model takes at most \d(\.\d+)? s"):
        policy.encode([longer])


def test_models_that_do_not_choose_one_label_are_refused(hubert):
    for change in ({"problem_type": "multi_label_classification"}, {"num_labels": 1}):
        model = copy.copy(hubert.model)
        model.config = HubertConfig(**{**change})
        with pytest.raises(ModelError, match="does not choose one label of several"):
            Classifier(model, hubert.processor)
    model.config.model_type = "wavlm"
    with pytest.raises(ModelError, match="'wavlm' is not a supported classifier; supported: audio-spec"):
        Classifier(model, hubert.processor)


def test_every_label_as_a_completion_gives_the_exact_expected_reward_and_its_gradient(hubert, prompts):
    """−Σ p · r through `logprobs`, as a loss over completions makes it, is minus `Classifier.expected_reward`."""
    narrow = Classifier(hubert.model, hubert.processor, block_tokens=[2])
    engine, temperature = AllLabels(narrow), 0.8
    groups = engine.rollout(prompts, len(LABELS) - 1, Sampling(temperature, 1), seed=0, step=0)
    tokens = torch.tensor([one.token_ids for group in groups for one in group])
    rewards = torch.randn(len(prompts), len(LABELS), generator=torch.Generator().manual_seed(4))
    earned = rewards.gather(-1, tokens.view(len(prompts), -1))

    logprobs = narrow.logprobs(narrow.encode(prompts), tokens, torch.ones_like(tokens), temperature)
    value = (logprobs.view_as(earned).exp() * earned).sum(-1)
    value.sum().backward()
    ours = take_gradients(hubert.model)
    exact = narrow.expected_reward(narrow.encode(prompts), rewards, temperature)
    exact.sum().backward()

    assert [[one.text for one in group] for group in groups] == [[*LABELS[:2], *LABELS[3:]]] * len(prompts)
    assert [one.logprobs[0] for group in groups for one in group] == pytest.approx(logprobs[:, 0].tolist(), abs=1e-6)
    assert torch.allclose(logprobs.view_as(earned).exp().sum(-1), torch.ones(len(prompts)))
    assert torch.allclose(value, exact, atol=1e-6)
    assert relative_difference(ours, take_gradients(hubert.model)) <= 1e-5


def test_only_a_classifier_can_list_its_answers_and_the_group_is_all_of_them(hubert, prompts, tmp_path):
    with pytest.raises(
        ConfigError, match=r"'rollout\.group_size' is 4, but the model has 7 labels; leave it out, or set it to 7"
    ):
        AllLabels(hubert).rollout(prompts, 4, Sampling(1.0, 1), seed=0, step=0)
    with pytest.raises(ModelError, match="HubertForCTC is not one; learn from samples"):
        AllLabels(CTC(*tiny_ctc.hubert_group(tmp_path)))
