"""The load-balancing loss over a shared prefix is transformers' own over the expanded batch."""

import pytest
import torch
from helpers import relative_difference, take_gradients
from subjects import CausalSubject, make
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import load_balancing_loss_func

from antiphon.errors import ModelError
from antiphon.models.recompute import recompute_activations
from antiphon.models.router_loss import RouterLoss


@pytest.fixture(scope="module", params=["qwen3_omni_moe_thinker", "qwen3_moe-text"])
def subject(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield make(request.param, tmp_path_factory.mktemp("subject"), patch)


def shared(policy, prompts, tokens, mask) -> torch.Tensor:
    router_loss = RouterLoss(policy.model)
    with router_loss.recording():
        prefix = policy.encode(prompts)
        policy.logprobs(prefix, tokens, mask)
    return router_loss.loss(prefix.mask, mask)


def expanded(subject: CausalSubject, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Every (prompt, completion) pair through the model's own forward, all but each completion's last token counted."""
    layers, counted, size = [], [], len(subject.prompts)
    for prompt, rows, taken in zip(subject.prompts, tokens.chunk(size), mask.chunk(size), strict=True):
        inputs = {name: torch.cat([value] * len(rows)) for name, value in subject.own_inputs(prompt).items()}
        ones = torch.ones_like(inputs["input_ids"])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], rows], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        layers.append(subject.policy.model(**inputs, output_router_logits=True, use_cache=False).router_logits)
        counted.append(torch.cat([ones, taken[:, 1:], torch.zeros(len(rows), 1)], 1).flatten())
    config = subject.policy.model.config.get_text_config()
    logits = tuple(torch.cat(parts) for parts in zip(*layers, strict=True))
    return load_balancing_loss_func(logits, config.num_experts, config.num_experts_per_tok, torch.cat(counted))


@pytest.mark.parametrize(("group", "length"), [(1, 6), (4, 6), (4, 1)])
def test_the_loss_and_its_gradient_equal_the_expanded_batch(subject, group, length):
    tokens, mask = subject.completions(group, length)
    ours = shared(subject.policy, subject.prompts, tokens, mask)
    ours.backward()
    our_gradients = take_gradients(subject.policy.model)
    theirs = expanded(subject, tokens, mask)
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    their_gradients = take_gradients(subject.policy.model)
    reached = {name: gradient for name, gradient in their_gradients.items() if name in our_gradients}
    assert all(not their_gradients[name].any() for name in their_gradients.keys() - reached.keys())
    assert relative_difference({name: our_gradients[name] for name in reached}, reached) <= 1e-5


def test_activations_computed_again_change_nothing(subject):
    policy, completions = subject.copied(), subject.completions(4)
    plain = shared(policy, subject.prompts, *completions)
    plain.backward()
    gradients = take_gradients(policy.model)
    recompute_activations(policy.model)
    again = shared(policy, subject.prompts, *completions)
    again.backward()
    assert again.item() == plain.item()
    assert relative_difference(take_gradients(policy.model), gradients) <= 1e-6


def test_what_cannot_be_balanced_is_said(subject, tmp_path, monkeypatch):
    dense = make("qwen3-text", tmp_path, monkeypatch)
    with pytest.raises(ModelError, match="Qwen3ForCausalLM has no experts to balance"):
        RouterLoss(dense.policy.model)
    tokens, mask = subject.completions(2)
    router_loss = RouterLoss(subject.policy.model)
    with router_loss.recording():
        prefix = subject.policy.encode(subject.prompts)
        for _ in range(2):
            subject.policy.logprobs(prefix, tokens, mask)
    with pytest.raises(ModelError, match="record one `encode` and one `logprobs`"):
        router_loss.loss(prefix.mask, mask)
