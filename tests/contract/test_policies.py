"""What every policy and engine promises the loop, on the recognizers that ship with the package."""

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils.rnn import pad_sequence

from antiphon.data.corpora.sets import builtin_set
from antiphon.models.load import builtin_names, load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.tasks import asr


@pytest.fixture(scope="module", params=builtin_names())
def policy(request):
    return load_policy(f"builtin:{request.param}", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def prompts(policy):
    examples = builtin_set("commands-noisy")[:5]
    return [asr.task.prompt(example, example.clip.load(policy.rate), policy.rate) for example in examples]


def test_it_is_in_eval_mode(policy):
    assert not any(module.training for module in policy.model.modules())


def test_every_completion_is_whole(policy, prompts):
    groups = InProcessEngine(policy).rollout(prompts, 4, Sampling(1.0, 12), seed=0, step=0)
    assert [len(group) for group in groups] == [4] * len(prompts)
    for completion in (one for group in groups for one in group):
        assert all(value <= 0 for value in completion.logprobs)
        if not policy.token_level:
            assert (len(completion.logprobs), completion.finish_reason) == (1, "stop")
            continue
        assert 1 <= len(completion.token_ids) == len(completion.logprobs) <= 12
        assert (completion.token_ids[-1] in policy.stop_ids) == (completion.finish_reason == "stop")
        assert not policy.stop_ids & set(completion.token_ids[:-1])


def test_a_rollout_does_not_depend_on_its_neighbors_or_their_order(policy, prompts):
    sampling = Sampling(1.0, 12)
    together = InProcessEngine(policy).rollout(prompts, 3, sampling, seed=1, step=5)
    reversed_ = InProcessEngine(policy).rollout(prompts[::-1], 3, sampling, seed=1, step=5)[::-1]
    in_turn = InProcessEngine(policy, max_tokens=1).rollout(prompts, 3, sampling, seed=1, step=5)
    ids = [[one.token_ids for one in group] for group in together]
    assert ids == [[one.token_ids for one in group] for group in reversed_]
    assert ids == [[one.token_ids for one in group] for group in in_turn]


def test_seed_step_and_sample_each_change_the_draw(policy, prompts):
    engine, sampling = InProcessEngine(policy), Sampling(1.5, 12)

    def texts(seed, step):
        return [[one.text for one in group] for group in engine.rollout(prompts, 4, sampling, seed, step)]

    base = texts(0, 0)
    assert base == texts(0, 0)
    assert base != texts(1, 0)
    assert base != texts(0, 1)
    assert any(len(set(group)) > 1 for group in base)


def test_a_cold_temperature_comes_to_greedy_decoding(policy, prompts):
    engine = InProcessEngine(policy)
    cold = engine.rollout(prompts, 1, Sampling(1e-3, 12), seed=0, step=0)
    assert [group[0].token_ids for group in cold] == [one.token_ids for one in engine.greedy(prompts, 12)]


def test_blocked_tokens_have_no_probability(policy, prompts):
    with torch.no_grad():
        blocked = int(policy.blocked.nonzero()[0])
        tokens, mask = torch.full((len(prompts), 1), blocked), torch.ones(len(prompts), 1)
        assert policy.logprobs(policy.encode(prompts), tokens, mask, 1.0).isneginf().all()


def test_saving_and_loading_changes_no_number(policy, prompts, tmp_path):
    policy.save(tmp_path / "model")
    again = load_policy(str(tmp_path / "model"), torch.device("cpu"), torch.float32)
    before, after = (InProcessEngine(one).greedy(prompts, 12) for one in (policy, again))
    assert [one.logprobs for one in before] == [one.logprobs for one in after]
    assert np.isfinite([one.logprobs[0] for one in after]).all()


def sampled(policy, prompts, n=2):
    """Prefix, tokens and mask of completions of unequal length."""
    groups = InProcessEngine(policy).rollout(prompts, n, Sampling(1.5, 12), seed=0, step=0)
    rows = [torch.tensor(one.token_ids) for group in groups for one in group]
    mask = pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True)
    return policy.encode(prompts), pad_sequence(rows, batch_first=True), mask


def lengths(prefix) -> list[int]:
    if hasattr(prefix, "frames"):
        return prefix.frames.tolist()
    if prefix.clips is not None:
        return [prefix.clips.get_seq_length()] * len(prefix.mask)
    return prefix.lengths.tolist()


@torch.no_grad()
def test_the_size_of_a_prompt_is_that_of_its_prefix_and_the_model_does_not_run_for_it(policy, prompts):
    expected = lengths(policy.encode(prompts))

    def refuse(module, args):
        raise AssertionError(f"{type(module).__name__} was called")

    handle = register_module_forward_pre_hook(refuse)
    try:
        assert [policy.size(prompt) for prompt in prompts] == expected
    finally:
        handle.remove()


@torch.no_grad()
def test_distributions_at_completion_positions_are_those_of_its_tokens(policy, prompts):
    if not policy.token_level:
        pytest.skip("its action is the whole sequence")
    prefix, tokens, mask = sampled(policy, prompts)
    logprobs = policy.logprobs(prefix, tokens, mask, 1.5)
    entropy = policy.predictions(prefix, tokens, mask, 1.5).map(lambda scores: -(scores.exp() * scores).nansum(-1))
    assert entropy.shape == (int(mask.sum()),)
    assert (entropy > 0).all()

    every = policy.vocabulary
    values, ids = policy.top_logprobs(prefix, tokens, mask, every, 1.5)
    assert values.shape == (*tokens.shape, every)
    own = values.masked_fill(ids != tokens[..., None], 0).sum(-1)
    torch.testing.assert_close(own * mask, logprobs)
    torch.testing.assert_close(values.exp().sum(-1)[mask.bool()], torch.ones(int(mask.sum())))
    assert values[~mask.bool()].eq(0).all()
    few = policy.top_logprobs(prefix, tokens, mask, 3, 1.5)
    torch.testing.assert_close(few[0], values[..., :3])
