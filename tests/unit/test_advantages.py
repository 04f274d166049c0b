"""Advantages of every algorithm that compares rewards, by hand, with and without dropped completions."""

from math import sqrt

import pytest
import torch
from loss_inputs import outcomes

from antiphon.algorithms import cispo, dapo, dr_grpo, grpo, gspo, mwer, reinforce_pp, rloo, self_critical

LAST_DROPPED = torch.tensor([[True, True, True, False]])


def close(given: torch.Tensor, expected: list[list[float]]) -> None:
    torch.testing.assert_close(given, torch.tensor(expected), atol=1e-5, rtol=1e-5)


# Of 1, 0, 2 the mean is 1 and the variance of a sample (0 + 1 + 1) / 2; the dropped 100 counts in neither.
@pytest.mark.parametrize(
    ("algorithm", "deviation"),
    [(grpo, 1.0), (dr_grpo, 1.0), (mwer, 1.0), (dapo, 1.0), (gspo, 1.0), (cispo, 1.0)],
)
def test_group_statistics_leave_out_what_was_dropped(algorithm, deviation: float):
    given = outcomes([[1.0, 0.0, 2.0, 100.0]], valid=LAST_DROPPED)
    close(algorithm.advantages(given, algorithm.Settings()), [[0, -1 / deviation, 1 / deviation, 0]])


@pytest.mark.parametrize("algorithm", [grpo, dapo, gspo, cispo])
@pytest.mark.parametrize(
    ("rewards", "sample", "population"),
    [([1.0, 0.0], sqrt(1 / 2), 1 / 2), ([1.0, 0.0, 2.0], 1.0, sqrt(2 / 3)), ([3.0, 3.0, 3.0, -1.0], 2.0, sqrt(3))],
)
def test_the_deviation_is_a_samples_unless_a_populations_is_asked_for(algorithm, rewards, sample, population):
    """As torch.std has them: TRL, verl and NeMo-RL divide by n − 1, so that ±1/√2 are the advantages of two."""
    centered = torch.tensor([rewards]) - sum(rewards) / len(rewards)
    for std, deviation in (("sample", sample), ("population", population)):
        settings = algorithm.Settings(std=std, std_normalization=True)
        made = algorithm.advantages(outcomes([rewards], max_new_tokens=None), settings)
        close(made, (centered / deviation).tolist())


@pytest.mark.parametrize("algorithm", [grpo, dr_grpo, mwer, dapo, gspo, cispo, rloo, reinforce_pp])
def test_a_group_that_is_constant_but_for_what_was_dropped_teaches_nothing(algorithm):
    given = outcomes([[-0.7, -0.7, -0.7, 3.0]], valid=LAST_DROPPED)
    assert not algorithm.advantages(given, algorithm.Settings()).any()


# L = 10 with a fifth of it as buffer: up to 8 tokens cost nothing, 9 half, 10 everything.
def test_dapo_punishes_lengths_near_the_limit():
    given = outcomes([[0.0] * 4], lengths=torch.tensor([[7, 8, 9, 10]]), max_new_tokens=10)
    close(dapo.overlong(given, dapo.Settings()), [[0, 0, 0.5, 1]])
    close(dapo.overlong(given, dapo.Settings(overlong_penalty=3.0)), [[0, 0, 1.5, 3]])
    # Half of 10 as buffer: 7, 8, 9 and 10 are 2/5, 3/5, 4/5 and all the way through it.
    close(dapo.overlong(given, dapo.Settings(overlong_share=0.5)), [[0.4, 0.6, 0.8, 1]])


def test_dapo_punishes_no_length_where_there_is_no_limit():
    given = outcomes([[0.0] * 4], lengths=torch.tensor([[7, 8, 9, 100]]), max_new_tokens=None)
    assert not dapo.overlong(given, dapo.Settings()).any()


def test_dapo_compares_rewards_after_that():
    # 0, 0, −1/2, −1: mean −3/8, deviations 3/8, 3/8, −1/8, −5/8, variance (9 + 9 + 1 + 25) / 64 / 3 = 11/48.
    given = outcomes([[0.0] * 4], lengths=torch.tensor([[7, 8, 9, 10]]), max_new_tokens=10)
    deviation = sqrt(11 / 48)
    expected = [[3 / 8 / deviation, 3 / 8 / deviation, -1 / 8 / deviation, -5 / 8 / deviation]]
    close(dapo.advantages(given, dapo.Settings()), expected)
    assert not dapo.advantages(given, dapo.Settings(overlong_penalty=0.0)).any()


# The means of the others are (0+2+1)/3, (1+2+1)/3, (1+0+1)/3 and (1+0+2)/3.
def test_rloo_subtracts_the_mean_of_the_others():
    close(rloo.advantages(outcomes([[1.0, 0.0, 2.0, 1.0]]), rloo.Settings()), [[0, -4 / 3, 4 / 3, 0]])
    centered = grpo.advantages(outcomes([[1.0, 0.0, 2.0, 1.0]]), grpo.Settings())
    close(centered * 4 / 3, [[0, -4 / 3, 4 / 3, 0]])


def test_rloo_counts_only_the_others_that_are_valid():
    given = outcomes([[1.0, 0.0, 2.0, 100.0]], valid=LAST_DROPPED)
    close(rloo.advantages(given, rloo.Settings()), [[0, -1.5, 1.5, 0]])
    alone = outcomes([[1.0, 0.0, 2.0, 100.0]], valid=torch.tensor([[True, False, False, False]]))
    assert not rloo.advantages(alone, rloo.Settings()).any()


# Group means 1 and 7 leave −1, 1, −3, 3: mean 0, variance (1 + 1 + 9 + 9) / 4 = 5.
def test_reinforce_pp_normalizes_over_all_groups():
    given = outcomes([[0.0, 2.0], [4.0, 10.0]])
    expected = [[-1 / sqrt(5), 1 / sqrt(5)], [-3 / sqrt(5), 3 / sqrt(5)]]
    close(reinforce_pp.advantages(given, reinforce_pp.Settings())[..., 0], expected)


def returns(rewards, kl, mask, **settings) -> torch.Tensor:
    kl, mask = torch.tensor(kl), torch.tensor(mask)
    given = outcomes(rewards, reference_kl=kl, mask=mask)
    return reinforce_pp.advantages(given, reinforce_pp.Settings(beta=0.5, **settings))


# β = 1/2. The KL from each token on: 3, 2 of the first completion (1 + 2, 2) and 4, of one token, of the second.
# R = 1 − 3/2, 1 − 1, 3 − 2 = −1/2, 0, 1: mean 1/6, variance (4/9 + 1/36 + 25/36) / 3 = 7/18.
def test_reinforce_pp_charges_each_token_with_the_kl_from_it_on():
    made = returns([[1.0], [3.0]], [[[1.0, 2.0]], [[4.0, 0.0]]], [[[1.0, 1.0]], [[1.0, 0.0]]], group_baseline=False)
    root = sqrt(7 / 18)
    close(made.flatten(1), [[-2 / 3 / root, -1 / 6 / root], [5 / 6 / root, 0]])


# The same in groups: 1 and 3 are ∓1 from their mean. R = −1 − 3/2, −1 − 1, 1 − 2 = −5/2, −2, −1: mean −11/6.
def test_reinforce_pp_with_a_baseline_charges_tokens_likewise():
    made = returns([[1.0, 3.0]], [[[1.0, 2.0], [4.0, 0.0]]], [[[1.0, 1.0], [1.0, 0.0]]])
    root = sqrt((16 + 1 + 25) / 36 / 3)
    close(made.flatten(1), [[-4 / 6 / root, -1 / 6 / root, 5 / 6 / root, 0]])


# Two completions of reward 0 and 1, of 3 tokens and of 1: the mean over tokens is 1/4, not 1/2, and the variance 3/16.
def test_reinforce_pp_counts_tokens_and_not_completions():
    mask = torch.tensor([[[1.0, 1.0, 1.0]], [[1.0, 0.0, 0.0]]])
    made = reinforce_pp.advantages(outcomes([[0.0], [1.0]], mask=mask), reinforce_pp.Settings(group_baseline=False))
    root = sqrt(3 / 16)
    close(made.flatten(1), [[-1 / 4 / root] * 3, [3 / 4 / root, 0, 0]])


def test_reinforce_pp_does_not_learn_from_the_rounding_of_a_kl():
    tiny = [[[1e-6, -2e-6], [4e-6, 0.0]]]
    assert not returns([[1.0, 1.0]], tiny, [[[1.0, 1.0], [1.0, 1.0]]]).any()
    assert returns([[1.0, 1.0]], [[[1e-2, -2e-2], [4e-2, 0.0]]], [[[1.0, 1.0], [1.0, 1.0]]]).all()


def test_reinforce_pp_with_its_kl_in_the_loss_has_one_advantage_a_completion():
    made = returns([[1.0, 3.0]], [[[1.0, 2.0], [4.0, 0.0]]], [[[1.0, 1.0], [1.0, 1.0]]], kl_in="loss")
    close(made.flatten(1), [[-1.0, -1.0, 1.0, 1.0]])


# 0.7 and 1/3 have no exact mean, and what rounding leaves of a zero-variance group must not make it count.
def test_reinforce_pp_leaves_zero_variance_groups_out_beside_others():
    given = outcomes([[-0.7] * 8, [1.0, 2.0] + [0.0] * 6, [1 / 3] * 8])
    made = reinforce_pp.advantages(given, reinforce_pp.Settings())[..., 0]
    assert (made != 0).any(-1).tolist() == [False, True, False]


# Without the baseline 0, 2, 4, 10 are −4, −2, 0, 6 from their mean: variance (16 + 4 + 36) / 4 = 14.
def test_reinforce_pp_without_a_baseline_compares_across_prompts():
    settings = reinforce_pp.Settings(group_baseline=False)
    root = sqrt(14)
    expected = [[-4 / root, -2 / root], [0, 6 / root]]
    close(reinforce_pp.advantages(outcomes([[0.0, 2.0], [4.0, 10.0]]), settings)[..., 0], expected)
    # 0, 2, 4: variance 8/3.
    given = outcomes([[0.0, 2.0], [4.0, 99.0]], valid=torch.tensor([[True, True], [True, False]]))
    root = sqrt(8 / 3)
    close(reinforce_pp.advantages(given, settings)[..., 0], [[-2 / root, 0], [2 / root, 0]])
    # One completion a prompt, as the paper's first variant has it: ±1 about the mean of two.
    close(reinforce_pp.advantages(outcomes([[0.0], [4.0]]), settings)[..., 0], [[-1.0], [1.0]])


def test_reinforce_pp_has_nothing_to_say_where_nothing_was_rewarded():
    none = outcomes([[0.0, 1.0]], valid=torch.zeros(1, 2, dtype=torch.bool))
    assert not reinforce_pp.advantages(none, reinforce_pp.Settings()).any()


def test_self_critical_compares_with_the_greedy_answer():
    given = outcomes([[1.0, 0.0], [0.5, 0.5]], greedy_rewards=torch.tensor([0.25, 1.0]))
    close(self_critical.advantages(given, self_critical.Settings()), [[0.75, -0.25], [-0.5, -0.5]])
    assert self_critical.needs(self_critical.Settings()).greedy


def test_self_critical_leaves_out_what_was_dropped():
    dropped = torch.tensor([[True, False]])
    given = outcomes([[1.0, 9.0]], valid=dropped, greedy_rewards=torch.tensor([0.25]))
    close(self_critical.advantages(given, self_critical.Settings()), [[0.75, 0]])


@pytest.mark.parametrize("algorithm", [grpo, dr_grpo, rloo, self_critical, dapo])
def test_the_kl_may_be_charged_in_the_reward(algorithm):
    # Two equal rewards, of which the first answer has drifted: 1 − 0.1 · 2 and 1.
    given = outcomes([[1.0, 1.0]], reference_kl=torch.tensor([[[2.0], [0.0]]]), greedy_rewards=torch.tensor([1.0]))
    charged = algorithm.advantages(given, algorithm.Settings(beta=0.1, kl_in="reward"))
    plain = algorithm.advantages(outcomes([[0.8, 1.0]], greedy_rewards=torch.tensor([1.0])), algorithm.Settings())
    assert charged[0, 0] < charged[0, 1]
    torch.testing.assert_close(charged, plain)
    assert not algorithm.advantages(given, algorithm.Settings(beta=0.1, kl_in="loss")).any()


def test_only_what_pulls_on_zero_variance_groups_keeps_them():
    def mean_over(**settings) -> str:
        return grpo.needs(grpo.Settings(**settings)).mean_over

    assert mean_over() == mean_over(beta=0.1, kl_in="reward") == "groups"
    assert mean_over(beta=0.1) == mean_over(entropy_bonus=0.1) == mean_over(teacher_coefficient=0.1) == "all"


@pytest.mark.parametrize(
    ("algorithm", "settings", "least"),
    [
        (grpo, {}, 2),
        (dapo, {"entropy_bonus": 0.1}, 2),
        (rloo, {"beta": 0.1}, 2),
        (mwer, {}, 2),
        (reinforce_pp, {}, 2),
        (reinforce_pp, {"group_baseline": False}, 1),
        (grpo, {"teacher_coefficient": 0.1}, 1),
        (cispo, {"credit": "alignment"}, 1),
        (self_critical, {}, 1),
    ],
)
def test_what_compares_within_a_group_needs_two(algorithm, settings, least):
    assert algorithm.needs(algorithm.Settings(**settings)).least_group == least
