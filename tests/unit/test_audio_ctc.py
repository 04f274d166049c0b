"""The auxiliary CTC loss: torch's own on states taken by hand, what it teaches, and what it refuses."""

import copy

import pytest
import torch
import torch.nn.functional as F

from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ConfigError
from antiphon.models.audio_ctc import AudioCTC
from antiphon.models.load import load_policy
from antiphon.models.submodules import freeze, parts
from antiphon.rollout.references import References
from antiphon.tasks import asr
from antiphon.train.objectives import load_objectives
from antiphon.train.trainer import Trainer
from antiphon.types import Group

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def examples():
    """Three clips of unequal lengths."""
    return [one for one in builtin_set("digits-clean") if one.text][:3]


@pytest.fixture(params=["student", "whisper"])
def policy(request):
    return load_policy(f"builtin:{request.param}", CPU, torch.float32)


def prompts_of(examples, rate):
    return [asr.task.prompt(one, one.clip.load(rate), rate) for one in examples]


def heard(policy, prompt):
    """The audio states [1, S, D] of one clip, by the model's own call."""
    if hasattr(policy, "prepare"):
        row = policy.prepare(prompt)
        return policy.model.get_audio_features(
            row["input_features"], input_features_mask=row["input_features_mask"]
        ).pooler_output[None]
    features = policy.processor.feature_extractor(prompt.waveform, sampling_rate=prompt.rate, return_tensors="pt")
    return policy.model.get_encoder()(features["input_features"]).last_hidden_state


def own_tokens(policy, text):
    """A transcript is tokenized as it would be in the answer: Whisper opens it with a space."""
    text = f" {text}" if policy.model.config.model_type == "whisper" else text
    return policy.tokenizer(text, add_special_tokens=False)["input_ids"]


def gradient_norm(module):
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    return sum(float(gradient.norm()) for gradient in gradients)


def test_it_is_ctc_on_each_clips_own_states_and_reaches_encoder_and_head(policy, examples):
    prompts = prompts_of(examples, policy.rate)
    ctc = AudioCTC(policy, examples, seed=0)
    with ctc.recording():
        policy.encode(prompts)
    losses = ctc.loss(prompts)
    vocabulary = sorted({token for one in examples for token in own_tokens(policy, one.text)})
    for loss, prompt, example in zip(losses, prompts, examples, strict=True):
        scores = ctc.head(heard(policy, prompt)).log_softmax(-1).transpose(0, 1)
        target = torch.tensor([vocabulary.index(token) for token in own_tokens(policy, example.text)])
        blank = len(vocabulary)
        value = F.ctc_loss(scores, target[None], [len(scores)], [len(target)], blank=blank, reduction="mean")
        assert loss.item() == pytest.approx(value.item(), rel=1e-5)
    losses.mean().backward()
    (encoder,) = parts(policy.model)["audio_encoder"]
    assert gradient_norm(policy.model.get_submodule(encoder)) > 0
    assert gradient_norm(ctc.head) > 0


def test_recording_ends_with_its_block(policy, examples):
    ctc = AudioCTC(policy, examples, seed=0)
    prompts = prompts_of(examples, policy.rate)
    with ctc.recording():
        policy.encode(prompts[:1])
    policy.encode(prompts)
    assert ctc.loss(prompts[:1]).shape == (1,)


def test_the_head_is_drawn_from_the_seed_alone(policy, examples):
    before = torch.random.get_rng_state()
    first, same, other = (AudioCTC(policy, examples, seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def trained(policy, examples, steps, *overrides):
    """The metrics of `steps` steps of SFT on the same clips."""
    prompts = prompts_of(examples, policy.rate)
    recipe = ["algorithm={name: sft, ctc_weight: 0.5}", "optimizer.lr=1e-3", "optimizer.warmup_steps=0", *overrides]
    config = load_config(None, recipe)
    ctc = AudioCTC(policy, examples, config.seed)
    trainer = Trainer(policy, load_objectives(config.algorithm), config, ctc=ctc)
    completions = References(policy, examples).rollout(prompts, 1, None, seed=0, step=0)
    groups = [Group(*one) for one in zip(examples, prompts, completions, strict=True)]
    return [trainer.step(groups, step)[1] for step in range(steps)]


def test_a_few_steps_lower_it(policy, examples):
    metrics = trained(policy, examples, 4)
    assert metrics[-1]["ctc"] < 0.9 * metrics[0]["ctc"]
    assert metrics[0]["loss"] == pytest.approx(metrics[0]["nll"] + 0.5 * metrics[0]["ctc"], rel=1e-5)


def test_micro_batches_change_nothing(policy, examples):
    again = copy.deepcopy(policy.model)
    whole = trained(policy, examples, 1)[0]
    policy.model.load_state_dict(again.state_dict())
    split = trained(policy, examples, 1, "train.max_tokens_per_batch=1")[0]
    for name in ("loss", "ctc", "nll", "grad_norm"):
        assert split[name] == pytest.approx(whole[name], rel=1e-4), name


def test_a_model_without_audio_states_is_refused(examples):
    with pytest.raises(ConfigError, match=r"'algorithm.ctc_weight': Wav2Vec2ForCTC has no separate audio states"):
        AudioCTC(load_policy("builtin:wav2vec2", CPU, torch.float32), examples, seed=0)


def test_a_frozen_encoder_is_refused(policy, examples):
    freeze(policy.model, [part for part in ("audio_encoder", "projector") if part in parts(policy.model)])
    with pytest.raises(ConfigError, match=r"the audio encoder is frozen, so CTC would train only its own head"):
        AudioCTC(policy, examples, seed=0)
