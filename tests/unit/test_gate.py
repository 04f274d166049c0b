"""The parity gate on the built-in student: what passes, and each way to fail."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ModelError
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.rollout.gate import SAMPLES, run_gate
from antiphon.tasks import asr

SAMPLING = Sampling(1.0, 12)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def policy():
    return load_policy("builtin:student", CPU, torch.float32)


@pytest.fixture(scope="module")
def prompts(policy):
    return [asr.task.prompt(one, one.clip.load(policy.rate), policy.rate) for one in builtin_set("digits-clean")[:3]]


@pytest.fixture
def deaf():
    """The student with a projector that makes the same of everything."""
    policy = load_policy("builtin:student", CPU, torch.float32)
    *_, last = [one for one in policy.model.model.audio_tower.modules() if isinstance(one, torch.nn.Linear)]
    with torch.no_grad():
        last.weight.zero_()
    return policy


class Perturbed(InProcessEngine):
    """An engine that reports one log-probability wrong, as an inference server in another precision may."""

    def __init__(self, policy, error):
        super().__init__(policy)
        self.error = error

    def rollout(self, prompts, n, sampling, seed, step):
        (first, *others), *groups = super().rollout(prompts, n, sampling, seed, step)
        shifted = replace(first, logprobs=(first.logprobs[0] + self.error, *first.logprobs[1:]))
        return [[shifted, *others], *groups]


class EachAlone(InProcessEngine):
    """An engine that is handed one prompt at a time."""

    def rollout(self, prompts, n, sampling, seed, step):
        return [super(EachAlone, self).rollout([prompt], n, sampling, seed, step)[0] for prompt in prompts]


def test_a_sound_model_passes_and_its_numbers_are_those_of_the_completions(policy, prompts):
    engine = InProcessEngine(policy)
    report = run_gate(policy, engine, prompts, SAMPLING, seed=3, step=7)
    report.require()
    completions = [one for group in engine.rollout(prompts, SAMPLES, SAMPLING, 3, 7) for one in group]
    assert report.passed
    assert report.precision == "float32"
    assert report.prompts == 3
    assert report.actions == sum(len(one.token_ids) for one in completions)
    assert report.difference_mean <= report.difference_max <= 1e-4
    assert 0 <= report.kl < 1e-8
    assert report.prompt_lengths == [int(policy.encode([one]).lengths[0]) for one in prompts]
    assert report.ablation == "shuffled clips"
    assert report.ablation_change > 0.1


def test_the_trainers_portions_change_nothing_but_rounding(policy, prompts):
    whole = run_gate(policy, EachAlone(policy), prompts, SAMPLING, seed=0)
    parts = run_gate(policy, EachAlone(policy), prompts, SAMPLING, seed=0, max_prompts_per_batch=2)
    assert parts.passed
    assert parts.prompt_lengths == whole.prompt_lengths
    assert parts.ablation_change == pytest.approx(whole.ablation_change, abs=1e-4)


def test_the_kl_and_the_differences_are_those_of_the_definition(policy, prompts):
    report = run_gate(policy, Perturbed(policy, -0.5), prompts, SAMPLING, seed=0)
    assert report.difference_max == pytest.approx(0.5, abs=1e-4)
    assert report.difference_mean == pytest.approx(0.5 / report.actions, abs=1e-5)
    assert report.kl == pytest.approx((np.exp(0.5) - 1 - 0.5) / report.actions, rel=1e-3)


def test_an_engine_that_disagrees_fails_with_the_number_and_the_limit(policy, prompts):
    report = run_gate(policy, Perturbed(policy, 2e-3), prompts, SAMPLING, seed=0)
    assert [check.passed for check in report.checks] == [False, True]
    with pytest.raises(ModelError, match=r"engine and trainer differ by 0\.002 nats .* limit in float32 is 0\.0001"):
        report.require()


def test_bf16_is_judged_by_the_kl(prompts):
    half = load_policy("builtin:student", CPU, torch.bfloat16)
    sound = run_gate(half, InProcessEngine(half), prompts, SAMPLING, seed=0)
    assert sound.precision == "bfloat16"
    sound.require()
    tolerable = run_gate(half, Perturbed(half, 0.01), prompts, SAMPLING, seed=0)
    assert tolerable.passed
    assert tolerable.difference_max > 1e-3
    with pytest.raises(ModelError, match=r"KL between engine and trainer is .*bfloat16 is 0\.015.*dtype=float32"):
        run_gate(half, Perturbed(half, -2.0), prompts, SAMPLING, seed=0).require()


def test_not_a_number_fails(policy, prompts):
    with pytest.raises(ModelError, match="engine and trainer differ by nan"):
        run_gate(policy, Perturbed(policy, float("nan")), prompts, SAMPLING, seed=0).require()


@pytest.mark.parametrize("count", [1, 3])
def test_a_model_that_ignores_its_audio_cannot_hear(deaf, prompts, count):
    """Its audio tokens are still as many as the clip is long; that alone must not pass for hearing."""
    report = run_gate(deaf, InProcessEngine(deaf), prompts[:count], SAMPLING, seed=0)
    assert [check.passed for check in report.checks] == [True, False]
    assert report.ablation_change <= 1e-6
    with pytest.raises(ModelError, match=r"the model ignores its audio: .*change by .*Check that the checkpoint holds"):
        report.require()


def test_one_prompt_is_tried_against_a_tone(policy, prompts):
    report = run_gate(policy, InProcessEngine(policy), prompts[:1], SAMPLING, seed=0)
    report.require()
    assert report.ablation == "a tone"
    assert report.prompt_lengths is not None
    assert len(report.prompt_lengths) == 1


def test_clips_that_are_all_the_same_are_tried_against_a_tone(policy, prompts):
    twins = [prompts[0], replace(prompts[0], id="twin")]
    report = run_gate(policy, InProcessEngine(policy), twins, SAMPLING, seed=0)
    report.require()
    assert report.ablation == "a tone"


def test_silence_is_tried_against_a_faint_tone(policy, prompts):
    silence = replace(prompts[0], waveform=np.zeros(8000, np.float32))
    report = run_gate(policy, InProcessEngine(policy), [silence], SAMPLING, seed=0)
    report.require()


def test_it_draws_from_no_global_generator(policy, prompts):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    run_gate(policy, InProcessEngine(policy), prompts[:1], SAMPLING, seed=0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
