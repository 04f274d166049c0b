"""Classifier policies: every architecture against transformers' own forward, from raw waveforms."""

import copy

import numpy as np
import pytest
import torch
from helpers import audible, noise_prompts, relative_difference, take_gradients
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    HubertConfig,
    HubertForSequenceClassification,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

from antiphon.algorithms import grpo
from antiphon.config import load_config
from antiphon.errors import ModelError
from antiphon.models.classifier import Classifier
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engine import InProcessEngine
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Group, Prompt, Reward

LABELS = ["yes", "no", "up", "down", "left", "right", "stop"]
SECONDS = (0.41, 0.2, 0.3234)
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
BODY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WAVEFORM = {
    **BODY,
    **NAMES,
    "classifier_proj_size": 16,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 4),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def wav2vec2_group():
    return Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**WAVEFORM)), Wav2Vec2FeatureExtractor()


def wav2vec2_layer():
    config = Wav2Vec2Config(**WAVEFORM, **LAYER_NORM, use_weighted_layer_sum=True)
    return Wav2Vec2ForSequenceClassification(config), Wav2Vec2FeatureExtractor(return_attention_mask=True)


def hubert_group():
    return HubertForSequenceClassification(HubertConfig(**WAVEFORM)), Wav2Vec2FeatureExtractor()


def hubert_layer():
    config = HubertConfig(**WAVEFORM, **LAYER_NORM)
    return HubertForSequenceClassification(config), Wav2Vec2FeatureExtractor(return_attention_mask=True)


def bert():
    config = Wav2Vec2BertConfig(
        **BODY,
        **NAMES,
        classifier_proj_size=16,
        feature_projection_input_dim=16,
        conv_depthwise_kernel_size=5,
        left_max_position_embeddings=8,
    )
    return Wav2Vec2BertForSequenceClassification(config), SeamlessM4TFeatureExtractor(feature_size=8, num_mel_bins=8)


def ast():
    config = ASTConfig(**BODY, **NAMES, num_mel_bins=16, max_length=48, patch_size=8, frequency_stride=8, time_stride=8)
    return ASTForAudioClassification(config), ASTFeatureExtractor(num_mel_bins=16, max_length=48)


def whisper():
    config = WhisperConfig(
        **NAMES,
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        num_mel_bins=16,
        max_source_positions=50,
        classifier_proj_size=16,
    )
    return WhisperForAudioClassification(config), WhisperFeatureExtractor(feature_size=16, chunk_length=1)


BUILDERS = [wav2vec2_group, wav2vec2_layer, hubert_group, hubert_layer, bert, ast, whisper]


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda build: build.__name__)
def policy(request) -> Classifier:
    model, extractor = request.param()
    return Classifier(audible(model), extractor)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return noise_prompts(SECONDS, task="classify")


def their_scores(policy: Classifier, prompt: Prompt, temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities [C] by transformers' own feature extractor and forward on one clip."""
    inputs = policy.feature_extractor([prompt.waveform], sampling_rate=16000, return_tensors="pt")
    return (policy.model(**inputs).logits[0].float() / temperature).log_softmax(-1)


@pytest.mark.parametrize(("group", "temperature"), [(1, 1.0), (4, 0.7), (16, 1.0)])
def test_logprobs_and_gradients_equal_the_expanded_batch(policy, prompts, group, temperature):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(len(LABELS), (len(prompts) * group, 1), generator=generator)
    weights = torch.randn(tokens.shape, generator=generator)
    shared = policy.logprobs(policy.encode(prompts), tokens, torch.ones_like(tokens), temperature)
    (shared * weights).sum().backward()
    ours = take_gradients(policy.model)
    rows = [their_scores(policy, prompts[i // group], temperature)[token] for i, token in enumerate(tokens)]
    expanded = torch.stack(rows)
    (expanded * weights).sum().backward()
    assert shared.shape == expanded.shape == tokens.shape
    assert (shared - expanded).abs().max() <= 1e-5
    assert relative_difference(ours, take_gradients(policy.model)) <= 1e-5


def test_label_logprobs_are_those_of_every_label(policy, prompts):
    with torch.no_grad():
        ours = policy.label_logprobs(policy.encode(prompts), 0.7)
        theirs = torch.stack([their_scores(policy, prompt, 0.7) for prompt in prompts])
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(ours.exp().sum(-1), torch.ones(len(prompts)))


def test_a_clip_alone_and_in_a_batch_gives_the_same_numbers(policy):
    prompts = noise_prompts([*SECONDS, SECONDS[0]])  # the first and the last share a pass
    with torch.no_grad():
        together = policy.label_logprobs(policy.encode(prompts))
        alone = torch.cat([policy.label_logprobs(policy.encode([prompt])) for prompt in prompts])
    assert (together - alone).abs().max() <= 1e-5


def test_clips_are_heard(policy, prompts):
    with torch.no_grad():
        logprobs = policy.label_logprobs(policy.encode(noise_prompts([SECONDS[0]] * 2)))
    assert (logprobs[0] - logprobs[1]).abs().max() > 1e-2


def test_every_part_gets_gradient(policy, prompts):
    weights = torch.randn(len(prompts), len(LABELS), generator=torch.Generator().manual_seed(3))
    (policy.label_logprobs(policy.encode(prompts)) * weights).sum().backward()
    gradients = take_gradients(policy.model)
    trained = {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad}
    # SpecAugment, which does not run; and a sum of all layers reads the last one before its norm.
    unread = ("masked_spec_embed", "encoder.layer_norm.weight", "encoder.layer_norm.bias")
    unread = unread if getattr(policy.model.config, "use_weighted_layer_sum", False) else unread[:1]
    assert [name for name in trained - gradients.keys() if not name.endswith(unread)] == []
    assert [name for name, gradient in gradients.items() if not gradient.abs().max() > 0] == []


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_reports_the_logprobs_that_training_computes(policy, prompts, temperature):
    uniforms = np.random.default_rng(0).random((len(prompts) * 8, 3))
    with torch.no_grad():
        groups = policy.sample(policy.encode(prompts), 8, Sampling(temperature, 3), uniforms)
        rows = [completion for group in groups for completion in group]
        tokens = torch.tensor([row.token_ids for row in rows])
        trained = policy.logprobs(policy.encode(prompts), tokens, torch.ones_like(tokens), temperature)
    assert [len(group) for group in groups] == [8, 8, 8]
    assert trained[:, 0].tolist() == pytest.approx([row.logprobs[0] for row in rows], abs=1e-5)
    assert all(row.text == LABELS[row.token_ids[0]] and row.finish_reason == "stop" for row in rows)
    assert len({row.text for row in rows}) > 2


def test_greedy_takes_transformers_best_label(policy, prompts):
    with torch.no_grad():
        ours = [group[0] for group in policy.sample(policy.encode(prompts), 1, Sampling(0.0, 3), None)]
        for prompt, completion in zip(prompts, ours, strict=True):
            theirs = their_scores(policy, prompt)
            assert completion.text == policy.model.config.id2label[theirs.argmax().item()]
            assert completion.logprobs[0] == pytest.approx(theirs.max().item(), abs=1e-5)


def test_saving_and_loading_changes_no_number(policy, prompts, tmp_path):
    policy.save(tmp_path)
    again = load_policy(str(tmp_path), torch.device("cpu"), torch.float32)
    assert isinstance(again, Classifier)
    assert not again.token_level
    assert again.labels == LABELS
    with torch.no_grad():
        assert torch.allclose(again.encode(prompts), policy.encode(prompts), rtol=0, atol=1e-6)


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
    with pytest.raises(ModelError, match=r"'p1' is \d\.\d\d s long and this model hears at most \d\.\d\d s"):
        policy.encode([longer])


def test_models_that_do_not_choose_one_label_are_refused(hubert):
    for change in ({"problem_type": "multi_label_classification"}, {"num_labels": 1}):
        model = copy.copy(hubert.model)
        model.config = HubertConfig(**{**change})
        with pytest.raises(ModelError, match="does not choose one label of several"):
            Classifier(model, hubert.processor)
    model.config.model_type = "wavlm"
    with pytest.raises(ModelError, match="'wavlm' is not a classifier that antiphon knows; known: audio-spec"):
        Classifier(model, hubert.processor)


def test_the_rewarded_label_becomes_more_probable(policy, prompts):
    """GRPO from rollouts of the policy itself, through the trainer that every family uses."""
    one = Classifier(copy.deepcopy(policy.model), policy.processor)
    overrides = ["optimizer.lr=3e-3", "rollout.prompts_per_step=3", "rollout.max_new_tokens=1"]
    trainer = Trainer(one, grpo, grpo.Settings(), load_config(overrides=overrides))

    def probability() -> float:
        with torch.no_grad():
            return one.label_logprobs(one.encode(prompts)).exp()[:, LABELS.index("down")].mean().item()

    before = probability()
    for step in range(8):
        rollout = InProcessEngine(one).rollout(prompts, 16, Sampling(1.0, 1), seed=0, step=step)
        groups = [
            Group(Example(p.id, "classify", None, "down"), p, completions)
            for p, completions in zip(prompts, rollout, strict=True)
        ]
        for group in groups:
            group.rewards = [Reward(float(completion.text == "down")) for completion in group.completions]
        _, metrics = trainer.step(groups, step)
        assert metrics.get("engine_difference_max", 0) < 1e-5
    assert probability() > before + 0.1
