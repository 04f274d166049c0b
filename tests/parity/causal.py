"""What the parity tests of causal language models share: the expanded batch, and learning from a simple reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from antiphon.algorithms import grpo
from antiphon.config import load_config
from antiphon.models.decoder_only import DecoderOnly
from antiphon.models.policy import Sampling
from antiphon.rollout.engine import InProcessEngine
from antiphon.train.trainer import Trainer
from antiphon.types import Completion, Example, Group, Prompt, Reward


def random_completions(policy: DecoderOnly, prompts: int, group: int, length: int) -> tuple[Tensor, Tensor]:
    """Allowed tokens [N, T] of unequal lengths, and their mask."""
    generator = torch.Generator().manual_seed(1)
    allowed = (~policy.blocked).nonzero().squeeze(-1)
    rows = prompts * group
    tokens = allowed[torch.randint(len(allowed), (rows, length), generator=generator)]
    lengths = torch.randint(1, length + 1, (rows,), generator=generator)
    mask = (torch.arange(length) < lengths[:, None]).float()
    return tokens * mask.long(), mask


def expanded_logprobs(
    policy: DecoderOnly, inputs: Sequence[Mapping[str, Tensor]], tokens: Tensor, mask: Tensor, temperature: float
) -> Tensor:
    """transformers' own forward over every (prompt, completion) pair: the audio once for each completion."""
    group = len(tokens) // len(inputs)
    values = []
    for i, prompt in enumerate(inputs):
        rows = slice(i * group, (i + 1) * group)
        others = {name: value for name, value in prompt.items() if name not in ("input_ids", "attention_mask")}
        ids = torch.cat([prompt["input_ids"].expand(group, -1), tokens[rows]], 1)
        ones = torch.ones(group, prompt["input_ids"].shape[1], dtype=torch.long)
        logits = policy.model(
            input_ids=ids,
            attention_mask=torch.cat([ones, mask[rows].long()], 1),
            use_cache=False,
            **{name: torch.cat([value] * group) for name, value in others.items()},
        ).logits[:, ones.shape[1] - 1 : -1]
        scores = (logits.float() / temperature).masked_fill(policy.blocked, -torch.inf).log_softmax(-1)
        values.append(scores.gather(-1, tokens[rows, :, None]).squeeze(-1).masked_fill(mask[rows] == 0, 0.0))
    return torch.cat(values)


def rescored(
    policy: DecoderOnly, prompts: Sequence[Prompt], n: int, temperature: float
) -> list[tuple[Completion, float]]:
    """Sampled completions, each with the largest difference of its log-probabilities from those of training."""
    length = 7
    uniforms = np.random.default_rng(0).random((len(prompts) * n, length))
    with torch.no_grad():
        groups = policy.sample(policy.encode(prompts), n, Sampling(temperature, length), uniforms)
        rows = [completion for group in groups for completion in group]
        tokens, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length)
        for i, row in enumerate(rows):
            tokens[i, : len(row.token_ids)] = torch.tensor(row.token_ids)
            mask[i, : len(row.token_ids)] = 1
        trained = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    sampled = [np.array(row.logprobs) for row in rows]
    return [
        (row, float(np.abs(trained[i, : len(values)].numpy() - values).max()))
        for i, (row, values) in enumerate(zip(rows, sampled, strict=True))
    ]


def learn(policy: DecoderOnly, prompts: Sequence[Prompt], reward: Callable[[Completion], float]) -> list[float]:
    """The mean reward of each rollout of a few GRPO steps."""
    overrides = ("optimizer.lr=0.01", f"rollout.prompts_per_step={len(prompts)}", "rollout.max_new_tokens=6")
    trainer = Trainer(policy, grpo, grpo.Settings(), load_config(overrides=overrides))
    means = []
    for step in range(12):
        completions = InProcessEngine(policy).rollout(prompts, 8, Sampling(1.0, 6), seed=0, step=step)
        groups = [
            Group(Example(prompt.id, prompt.task, None, ""), prompt, group, rewards=[Reward(reward(c)) for c in group])
            for prompt, group in zip(prompts, completions, strict=True)
        ]
        means.append(float(np.mean([one.value for group in groups for one in group.rewards])))
        trainer.step(groups, step)
    return means
