"""SFT: its loss by hand, and references as the model would say them."""

import math
from dataclasses import replace

import pytest
import torch

from antiphon.algorithms import sft
from antiphon.algorithms.inputs import Scores
from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import DataError
from antiphon.models.fit import Fit
from antiphon.models.fitting import fitting
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.rollout.references import References
from antiphon.tasks import asr
from antiphon.tasks.load import prompter


@pytest.fixture(scope="module")
def student():
    return load_policy("builtin:student", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def clear():
    """Clips that the student hears without an error."""
    return [one for one in builtin_set("digits-clean")[:4] if one.text]


def prompts_of(examples, rate):
    return [asr.task.prompt(one, one.clip.load(rate), rate) for one in examples]


def test_the_loss_is_the_weighted_negative_log_likelihood_and_its_gradient_the_weights():
    """Two references of two tokens and one, mean over tokens: −(ln ½ + ln ¼ + ln ⅛) / 3 = 2 ln 2."""
    logprobs = torch.tensor([[0.5, 0.25], [0.125, 1.0]]).log().requires_grad_()
    weights = torch.tensor([[1 / 3, 1 / 3], [1 / 3, 0.0]])
    nothing = torch.zeros(2, 2)
    scores = Scores(
        logprobs=logprobs,
        old_logprobs=nothing,
        engine_logprobs=nothing,
        advantages=nothing,
        weights=weights,
        group_size=1,
        first=torch.ones(2, dtype=torch.bool),
    )
    loss, metrics = sft.loss(scores, sft.Settings())
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(2))
    assert metrics["nll"].item() == pytest.approx(2 * math.log(2))
    assert logprobs.grad is not None
    assert torch.equal(logprobs.grad, -weights)


def test_a_reference_is_worded_and_ended_as_the_model_itself_does_it(student, clear):
    prompts = prompts_of(clear, student.rate)
    engine = References(student, clear)
    references = [group[0] for group in engine.rollout(prompts, 1, Sampling(), seed=0, step=0)]
    said = InProcessEngine(student).greedy(prompts, 32)
    right = [i for i, one in enumerate(said) if student.render(one).text == clear[i].text]
    assert len(right) >= 2, "the student hears clean digits"
    for i in right:
        reference, own = references[i].token_ids, said[i].token_ids
        assert student.tokenizer.decode(reference) == student.tokenizer.decode(own), "framing and stop token included"
        assert reference[-1] == own[-1]
        assert references[i].logprobs == (0.0,) * len(reference)


def test_a_reference_that_cannot_be_said_is_named_before_anything_is_learned(student, clear):
    special = student.tokenizer.audio_bos_token
    fit = Fit(student, prompter(load_config(), student.rate), with_reference=True)
    with pytest.raises(DataError, match=rf"{clear[1].id}.*is blocked; correct the text"):
        fitting(fit, [clear[0], replace(clear[1], text=f"one {special} two")], "the set")
