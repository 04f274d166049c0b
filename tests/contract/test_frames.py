"""Actions of several ids go through engine, gate, collector, trainer, checkpoints and rollout files like tokens do."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from frames import FramePolicy
from helpers import noise_prompts

from antiphon.algorithms.inputs import Needs
from antiphon.config import load_config
from antiphon.dashboard.read import rollouts
from antiphon.models.policy import Policy, Sampling
from antiphon.rollout.collect import Collector
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.rollout.gate import run_gate
from antiphon.rollout.metrics import rollout_metrics
from antiphon.run.loop import Step
from antiphon.run.observers.folder import FolderWriter
from antiphon.runs import RunFolder
from antiphon.tasks.task import Task
from antiphon.train.batch import make_batch
from antiphon.train.checkpoint import load_checkpoint, save_checkpoint
from antiphon.train.objectives import load_objectives
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Reward

SAMPLING = Sampling(1.0, 5)
PROMPTS = noise_prompts((0.5, 0.31, 0.42, 0.2))


class Stream:
    """The same four clips at every step."""

    per_step = len(PROMPTS)

    def examples(self, step, attempt=0, without=()):
        return [Example(one.id, "asr", None, "") for one in PROMPTS]

    def prompts(self, step, attempt=0, without=()):
        return PROMPTS


class HighIds:
    """The share of ids in the upper half of their codebooks."""

    name = "high_ids"

    async def score(self, samples):
        return [Reward(float(np.mean([token >= 4 for token in one.completion_ids]))) for one in samples]


@pytest.fixture
def policy() -> FramePolicy:
    return FramePolicy()


def config(*overrides: str):
    return load_config(overrides=["optimizer.lr=0.03", "rollout.max_new_tokens=5", "device=cpu", *overrides])


def collector(policy: Policy, group_size: int) -> Collector:
    engine: Any = InProcessEngine(policy)
    parts: Any = {"stream": Stream(), "policy": policy, "engine": engine, "source": engine, "reward": HighIds()}
    parts["task"] = Task()
    return Collector(**parts, group_size=group_size, sampling=SAMPLING, seed=0, needs=Needs())


def test_what_was_sampled_is_what_is_scored(policy):
    groups, _, _ = collector(policy, 3).collect(0)
    batch = make_batch(groups, policy.device)
    assert batch.tokens.shape == (12, batch.mask.shape[1], 3)
    assert batch.mask.sum(-1).unique().numel() > 1
    with torch.no_grad():
        scored = policy.logprobs(policy.encode(batch.prompts), batch.tokens, batch.token_mask, 1.0)
    torch.testing.assert_close(scored, batch.engine_logprobs, rtol=0, atol=1e-5)
    run_gate(policy, InProcessEngine(policy), PROMPTS, SAMPLING, seed=0).require()


def test_lengths_are_in_frames(policy):
    groups, _, _ = collector(policy, 3).collect(0)
    lengths = [len(one.logprobs) for group in groups for one in group.completions]
    assert rollout_metrics(groups)["tokens_mean"] == np.mean(lengths)
    assert max(lengths) <= 5


@pytest.mark.parametrize("settings", [{"name": "grpo"}, {"name": "gspo", "normalization": "sequence"}])
def test_a_few_steps_raise_the_reward(policy, settings):
    loop, trainer = collector(policy, 16), Trainer(policy, load_objectives(settings), config())
    means = []
    for step in range(8):
        groups, _, _ = loop.collect(step)
        means.append(rollout_metrics(groups)["reward_mean"])
        _, metrics = trainer.step(groups, step)
        assert metrics["engine_difference_max"] <= 1e-5
    assert np.mean(means[-2:]) > means[0] + 0.1


def test_micro_batches_add_up(policy):
    groups, _, _ = collector(policy, 4).collect(0)
    objectives = load_objectives([{"name": "grpo", "beta": 0.1}, {"name": "mwer", "weight": 0.5}])
    whole, parts = (
        Trainer(policy, objectives, config(f"train.max_tokens_per_batch={most}"), reference=FramePolicy(seed=3))
        for most in (1000, 1)
    )
    figures = whole.evaluate(groups)
    assert figures == pytest.approx(parts.evaluate(groups), abs=1e-5)
    assert figures["grpo/kl_reference"] > 0


def test_a_checkpoint_is_read_back(policy, tmp_path):
    loop, trainer = collector(policy, 4), Trainer(policy, load_objectives({"name": "grpo"}), config())
    trainer.step(loop.collect(0)[0], 0)
    save_checkpoint(tmp_path, trainer, 1)
    again = Trainer(FramePolicy.load(tmp_path), load_objectives({"name": "grpo"}), config())
    assert load_checkpoint(tmp_path, again) == 1
    for one in (trainer, again):
        one.step(collector(one.policy, 4).collect(1)[0], 1)
    for mine, theirs in zip(trainer.policy.model.parameters(), again.policy.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_rollout_file_is_read_back(policy, tmp_path):
    loop, trainer = collector(policy, 4), Trainer(policy, load_objectives({"name": "grpo"}), config())
    groups, _, seconds = loop.collect(0)
    advantages, metrics = trainer.step(groups, 0)
    run = RunFolder.create(config(f"output={tmp_path}"), ["antiphon", "train"])
    writer = FolderWriter(None)
    writer.started(run, 0)
    writer.stepped(Step(1, groups, advantages, metrics, seconds))
    rows = pq.read_table(run.path / "rollouts" / "step-000001.parquet").to_pylist()
    completions = [one for group in groups for one in group.completions]
    for row, completion in zip(rows, completions, strict=True):
        frames = np.reshape(row["token_ids"], (-1, row["width"]))
        assert frames.shape == (len(row["logprobs"]), 3)
        assert len(row["advantages"]) == len(frames)
        assert tuple(frames.flatten().tolist()) == completion.token_ids
    shown = rollouts.read_group(rollouts.read_step(run.path, 1), 0)
    assert [one.token_count for one in shown.samples] == [one.length for one in completions[:4]]
