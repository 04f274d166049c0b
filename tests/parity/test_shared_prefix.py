"""A shared prefix is exact: values and gradients equal the expanded batch, a clip alone equals it in a batch."""

import numpy as np
import pytest
import torch

from antiphon.builtin.architecture import Size, build_model, build_processor
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.policy import Sampling
from antiphon.types import Prompt

SECONDS = (1.37, 0.61, 2.903)
TINY = Size(width=32, audio_layers=2, text_layers=2, heads=4, feed_forward=64, conv_channels=8)


@pytest.fixture(scope="module")
def policy() -> AudioPrefixLM:
    torch.manual_seed(0)
    processor = build_processor()
    model = build_model(TINY, processor)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return AudioPrefixLM(model, processor)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    rng = np.random.default_rng(0)
    waveforms = [0.1 * rng.standard_normal(int(s * 16000)).astype(np.float32) for s in SECONDS]
    return [Prompt(f"p{i}", "asr", waveform, 16000) for i, waveform in enumerate(waveforms)]


def completions(group: int, length: int, policy: AudioPrefixLM) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    allowed = (~policy.blocked).nonzero().squeeze(-1)
    rows = len(SECONDS) * group
    tokens = allowed[torch.randint(len(allowed), (rows, length), generator=generator)]
    lengths = torch.randint(1, length + 1, (rows,), generator=generator)
    mask = (torch.arange(length) < lengths[:, None]).float()
    return tokens * mask.long(), mask


def expanded_logprobs(policy, prompts, tokens, mask, temperature=1.0) -> torch.Tensor:
    """The plain way: transformers' own forward over every (prompt, completion) pair by itself."""
    group = len(tokens) // len(prompts)
    out = torch.zeros(mask.shape)
    values = []
    for row in range(len(tokens)):
        prompt = prompts[row // group]
        text = policy.processor.apply_transcription_request(prompt.waveform, tokenize=False)
        inputs = policy.processor(text=text, audio=[prompt.waveform], sampling_rate=16000)
        size = int(mask[row].sum())
        ids = torch.cat([inputs["input_ids"], tokens[row : row + 1, :size]], 1)
        logits = policy.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=inputs["input_features"],
            input_features_mask=inputs["input_features_mask"],
            use_cache=False,
        ).logits[0, -size - 1 : -1]
        scores = (logits.float() / temperature).masked_fill(policy.blocked, -torch.inf).log_softmax(-1)
        values.append(scores.gather(-1, tokens[row, :size, None]).squeeze(-1))
    return out.masked_scatter(mask.bool(), torch.cat(values))


def gradients(policy) -> torch.Tensor:
    flat = torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None])
    policy.model.zero_grad(set_to_none=True)
    return flat


@pytest.mark.parametrize("group", [1, 4, 16])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_gradients_equal_the_expanded_batch(policy, prompts, group, temperature):
    tokens, mask = completions(group, 6, policy)
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2)) * mask

    shared = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    (shared * weights).sum().backward()
    shared_gradient = gradients(policy)

    expanded = expanded_logprobs(policy, prompts, tokens, mask, temperature)
    (expanded * weights).sum().backward()
    expanded_gradient = gradients(policy)

    assert (shared - expanded).abs().max() <= 1e-5
    assert (shared_gradient - expanded_gradient).norm() <= 1e-5 * expanded_gradient.norm()


def test_audio_encoder_gets_gradient_through_the_shared_prefix(policy, prompts):
    tokens, mask = completions(2, 4, policy)
    policy.logprobs(policy.encode(prompts), tokens, mask, 1.0).sum().backward()
    assert policy.model.model.audio_tower.conv2d1.weight.grad.abs().max() > 0
    policy.model.zero_grad(set_to_none=True)


def test_a_clip_alone_and_in_a_batch_gives_the_same_numbers(policy, prompts):
    tokens, mask = completions(2, 5, policy)
    together = policy.logprobs(policy.encode(prompts), tokens, mask, 1.0)
    for i, prompt in enumerate(prompts):
        rows = slice(2 * i, 2 * i + 2)
        alone = policy.logprobs(policy.encode([prompt]), tokens[rows], mask[rows], 1.0)
        assert (alone - together[rows]).abs().max() <= 1e-5


def test_clips_are_heard(policy, prompts):
    """Guards the tests above against a model whose answers do not depend on its audio."""
    tokens, mask = completions(2, 5, policy)
    heard = policy.logprobs(policy.encode(prompts), tokens, mask, 1.0)
    shuffled = policy.logprobs(policy.encode(prompts[1:] + prompts[:1]), tokens, mask, 1.0)
    assert (heard - shuffled).abs().max() > 1e-2


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_reports_the_logprobs_that_training_computes(policy, prompts, temperature):
    sampling = Sampling(temperature, max_new_tokens=7)
    uniforms = np.random.default_rng(0).random((len(prompts) * 4, 7))
    with torch.no_grad():
        prefix = policy.encode(prompts)
        groups = policy.sample(prefix, 4, sampling, uniforms)
        rows = [c for group in groups for c in group]
        tokens, mask = torch.zeros(12, 7, dtype=torch.long), torch.zeros(12, 7)
        for i, row in enumerate(rows):
            tokens[i, : len(row.token_ids)] = torch.tensor(row.token_ids)
            mask[i, : len(row.token_ids)] = 1
        trained = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    for i, row in enumerate(rows):
        size = len(row.token_ids)
        assert np.abs(trained[i, :size].numpy() - np.array(row.logprobs)).max() <= 1e-5
        assert not policy.blocked[list(row.token_ids)].any()
        assert row.finish_reason == ("stop" if row.token_ids[-1] in policy.stop_ids else "length")


def test_greedy_equals_transformers_generate(policy, prompts):
    completion = [group[0] for group in policy.sample(policy.encode(prompts), 1, Sampling(0.0, 8), None)]
    for prompt, ours in zip(prompts, completion, strict=True):
        inputs = policy.processor.apply_transcription_request(prompt.waveform)
        blocked = [[i] for i in policy.blocked.nonzero().squeeze(-1).tolist()]
        theirs = policy.model.generate(
            **inputs,
            max_new_tokens=8,
            do_sample=False,
            bad_words_ids=blocked,
            eos_token_id=sorted(policy.stop_ids),
        )[0, inputs["input_ids"].shape[1] :]
        assert tuple(theirs.tolist()) == ours.token_ids
