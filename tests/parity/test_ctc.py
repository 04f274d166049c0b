"""CTC policies: transformers' own loss and best path, how labels are sampled, and what is refused."""

import copy
from collections import Counter

import numpy as np
import pytest
import tiny_audio
import tiny_text
import torch
from helpers import audible, noise_prompts
from tiny_ctc import BUILDERS, VOCABULARY, wav2vec2_group
from transformers import HubertConfig

from antiphon.errors import ModelError
from antiphon.evaluate.decode import decoder
from antiphon.models.ctc import CTC, FramePrefix, frame_uniforms
from antiphon.models.policy import Sampling
from antiphon.models.text_lm import TextLM
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.types import Prompt

SECONDS = (0.41, 0.2, 0.3234)


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda build: build.__name__)
def policy(request, tmp_path_factory) -> CTC:
    model, processor = request.param(tmp_path_factory.mktemp("vocabulary"))
    return CTC(audible(model), processor)


@pytest.fixture(scope="module")
def group_norm(tmp_path_factory) -> CTC:
    model, processor = wav2vec2_group(tmp_path_factory.mktemp("vocabulary"))
    return CTC(audible(model), processor)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return noise_prompts(SECONDS)


def test_logprobs_equal_transformers_own_loss(policy, prompts):
    every = CTC(policy.model, policy.processor, block_tokens=())
    tokens, mask = torch.tensor([[5, 0, 0], [6, 7, 0], [8, 8, 5]]), torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    policy.model.config.ctc_loss_reduction = "sum"
    with torch.no_grad():
        ours = every.logprobs(every.encode(prompts), tokens, mask)
        for prompt, row, taken, value in zip(prompts, tokens, mask.bool(), ours, strict=True):
            inputs = policy.processor([prompt.waveform], sampling_rate=16000, return_tensors="pt")
            pad = -100 if policy.model.config.model_type != "parakeet_ctc" else policy.blank
            loss = policy.model(**inputs, labels=torch.where(taken, row, pad)[None]).loss
            assert value.item() == pytest.approx(-loss.item(), rel=1e-5, abs=1e-4)


def test_greedy_text_is_the_best_path_as_the_tokenizer_writes_it(policy, prompts):
    with torch.no_grad():
        prefix = policy.encode(prompts)
        greedy = [group[0] for group in policy.sample(prefix, 1, Sampling(0.0, 4), None)]
    for completion, logits, frames in zip(greedy, prefix.logits, prefix.frames, strict=True):
        best = logits[:frames].masked_fill(policy.blocked, -torch.inf).argmax(-1)
        assert completion.text == policy.tokenizer.decode(best)


def test_a_beam_finds_no_worse_than_the_best_path(policy, prompts):
    with torch.no_grad():
        prefix = policy.encode(prompts)
        greedy = [group[0].logprobs[0] for group in policy.sample(prefix, 1, Sampling(0.0, 4), None)]
        beams = [completion.logprobs[0] for completion in policy.beam(prefix, 16)]
    assert all(beam >= one - 1e-6 for beam, one in zip(beams, greedy, strict=True))
    assert sum(beams) > sum(greedy)


def test_frame_uniforms_continue_a_row_by_itself_alone():
    rows = np.random.default_rng(0).random((2, 4))
    assert np.array_equal(frame_uniforms(rows[0], 3), rows[0, :3])
    longer = [frame_uniforms(row, 50) for row in rows]
    assert np.array_equal(longer[0][:4], rows[0])
    assert np.array_equal(longer[0], frame_uniforms(rows[0].copy(), 50))
    assert not np.isin(longer[0], longer[1]).any()
    assert len(set(longer[0])) == 50
    assert ((longer[0] >= 0) & (longer[0] < 1)).all()


def test_samples_come_as_often_as_their_probability_says(group_norm):
    prompts = noise_prompts([0.05])  # 4 frames
    with torch.no_grad():
        prefix = group_norm.encode(prompts)
        assert prefix.frames.tolist() == [4]
        (group,) = group_norm.sample(prefix, 20000, Sampling(0.5, 2), np.random.default_rng(0).random((20000, 2)))
    counts = Counter(completion.token_ids for completion in group)
    probability = {completion.token_ids: np.exp(completion.logprobs[0]) for completion in group}
    for labels, count in counts.most_common(10):
        deviation = np.sqrt(20000 * probability[labels] * (1 - probability[labels]))
        assert abs(count - 20000 * probability[labels]) < 4.5 * deviation


def test_doubled_letters_and_word_boundaries_survive(group_norm):
    """A path of "h e l blank l o | a" says "hello a"."""
    path = [VOCABULARY.index(label) for label in ("h", "h", "e", "l", "<pad>", "l", "o", "|", "a")]
    logits = torch.full((1, len(path), len(VOCABULARY)), -9.0)
    logits[0, torch.arange(len(path)), path] = 9.0
    prefix = FramePrefix(logits, torch.tensor([len(path)]))
    sampled = group_norm.sample(prefix, 1, Sampling(1.0, 3), np.full((1, 3), 0.5))[0][0]
    greedy = group_norm.sample(prefix, 1, Sampling(0.0, 3), None)[0][0]
    assert sampled.text == greedy.text == group_norm.beam(prefix, 2)[0].text == "hello a"
    assert len(greedy.token_ids) == 7 > 3  # `max_new_tokens` cuts nothing


def test_special_tokens_are_blocked_but_not_blank_and_boundary(policy):
    blocked = [policy.tokenizer.convert_ids_to_tokens(i) for i in policy.blocked.nonzero().squeeze(-1).tolist()]
    expected = {"<unk>"} if policy.model.config.model_type == "parakeet_ctc" else {"<s>", "</s>", "<unk>"}
    assert set(blocked) == expected
    assert CTC(policy.model, policy.processor, block_tokens=[5]).blocked.nonzero().tolist() == [[5]]


def test_unusable_prompts_are_named(policy):
    waveform = np.zeros(16000, np.float32)
    with pytest.raises(ModelError, match=r"'a' has no audio"):
        policy.encode([Prompt("a", None, 16000)])
    with pytest.raises(ModelError, match=r"'a' has a context"):
        policy.encode([Prompt("a", waveform, 16000, context="names: Ada")])
    for samples in (100, 399):
        with pytest.raises(ModelError, match=r"'a' has 0\.0\d\d s of audio, too little"):
            policy.encode([Prompt("a", waveform[:samples], 16000)])


def test_divergence_is_said(group_norm):
    prefix = FramePrefix(torch.full((1, 3, len(VOCABULARY)), torch.nan), torch.tensor([3]))
    with pytest.raises(ModelError, match="training has diverged"):
        group_norm.sample(prefix, 2, Sampling(1.0, 3), np.full((2, 3), 0.5))


def test_a_model_of_another_family_is_refused(group_norm):
    model = copy.copy(group_norm.model)
    model.config = HubertConfig()
    model.config.model_type = "sew"
    with pytest.raises(ModelError, match=r"'sew' is not a supported CTC model; supported: hubert, parakeet_ctc"):
        CTC(model, group_norm.processor)


def test_evaluation_searches_with_a_beam_where_it_is_asked_to(group_norm):
    prompts, engine = noise_prompts([*SECONDS, *SECONDS]), InProcessEngine(group_norm)
    with torch.no_grad():
        best = group_norm.beam(group_norm.encode(prompts), 16)
    assert [one.text for one in decoder(group_norm, engine, batch_size=4, beam=16)(prompts, 8)] == [
        one.text for one in best
    ]
    greedy = decoder(group_norm, engine, batch_size=4)(prompts, 8)
    assert sum(one.logprobs[0] for one in best) > sum(one.logprobs[0] for one in greedy)
    with pytest.raises(ModelError, match="beam search is for CTC models, and Qwen3ForCausalLM is none"):
        decoder(TextLM(tiny_text.tiny("qwen3"), tiny_audio.bytes_tokenizer()), engine, batch_size=4, beam=2)
