"""What every policy and engine promises the loop, on the recognisers that ship with the package."""

import numpy as np
import pytest
import torch

from antiphon.data.corpora.sets import builtin_set
from antiphon.models.load import builtin_names, load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engine import InProcessEngine
from antiphon.tasks import asr


@pytest.fixture(scope="module", params=builtin_names())
def policy(request):
    return load_policy(f"builtin:{request.param}", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def prompts(policy):
    examples = builtin_set("commands-noisy")[:5]
    return [asr.prompt(example, example.clip.load(policy.rate), policy.rate) for example in examples]


def test_it_is_in_eval_mode(policy):
    assert not any(module.training for module in policy.model.modules())


def test_every_completion_is_whole(policy, prompts):
    groups = InProcessEngine(policy).rollout(prompts, 4, Sampling(1.0, 12), seed=0, step=0)
    assert [len(group) for group in groups] == [4] * len(prompts)
    for completion in (one for group in groups for one in group):
        assert 1 <= len(completion.token_ids) == len(completion.logprobs) <= 12
        assert all(value <= 0 for value in completion.logprobs)
        assert (completion.token_ids[-1] in policy.stop_ids) == (completion.finish_reason == "stop")
        assert not policy.stop_ids & set(completion.token_ids[:-1])


def test_a_rollout_does_not_depend_on_its_neighbours_or_their_order(policy, prompts):
    sampling = Sampling(1.0, 12)
    together = InProcessEngine(policy).rollout(prompts, 3, sampling, seed=1, step=5)
    reversed_ = InProcessEngine(policy).rollout(prompts[::-1], 3, sampling, seed=1, step=5)[::-1]
    in_turn = InProcessEngine(policy, max_sequences=3).rollout(prompts, 3, sampling, seed=1, step=5)
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
