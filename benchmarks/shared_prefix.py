"""GRPO with a shared prefix against the expanded batch: rollout, train step, whole step and peak memory.

Ours is the library as a run uses it: `InProcessEngine.rollout`, then `Trainer.step` with `grpo`.

The standard side is what a general trainer does with transformers: `generate(num_return_sequences=G)`, then one
forward pass over every (prompt, completion) pair with logits at the completion's positions alone, the same clipped
loss, gradient clipping and AdamW.

Both start from the same random weights, hear the same clips, rewards are the same random numbers, nothing is frozen,
no token ends a completion, and the audio placeholder alone is never sampled. Features are extracted on both sides
before the first round. `limit` is the ratio of multiply-accumulates in a train step, encoder included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from random_models import QWEN, noise, policy_that_never_stops, recognizer
from side_by_side import OURS, STANDARD, Seconds, alternate, conclude, parse, peak_mb, report_peak, timed
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from antiphon.config import Config
from antiphon.models.policy import Sampling
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.train.objectives import load_objectives
from antiphon.train.optimizer import MasterAdamW
from antiphon.train.trainer import Trainer
from antiphon.types import Completion, Example, Group, Prompt, Reward

CONTEXT = "turn the lamp in the kitchen"
"""A few words of system prompt, so that a prompt has about 20 tokens beside those of its audio."""
LEARNING_RATE, BETAS, CLIP, MAX_NORM = 1e-5, (0.9, 0.95), 0.2, 1.0


@dataclass(frozen=True)
class Work:
    """What one GRPO step is of."""

    size: str
    seconds: float
    prompts: int
    group: int
    tokens: int

    def clips(self) -> list[Prompt]:
        return [noise(f"clip {i}", self.seconds, CONTEXT) for i in range(self.prompts)]

    def rewards(self, step: int) -> Tensor:
        """[P, G], random."""
        return torch.rand(self.prompts, self.group, generator=torch.Generator().manual_seed(step))


PRESETS = {
    "tiny": Work("tiny", seconds=1.0, prompts=2, group=4, tokens=4),
    "small": Work("small", seconds=10.0, prompts=8, group=16, tokens=32),
    "long": Work("small", seconds=30.0, prompts=8, group=8, tokens=64),
    QWEN: Work(QWEN, seconds=10.0, prompts=8, group=16, tokens=32),
}


class Ours:
    """One GRPO step after the other, as a run makes them."""

    def __init__(self, work: Work, arguments: argparse.Namespace) -> None:
        self.work, self.device = work, arguments.device
        self.policy = policy_that_never_stops(*recognizer(work.size, arguments.device, arguments.dtype))
        self.prompts = work.clips()
        config = Config.model_validate(
            {
                "rollout": {"max_new_tokens": work.tokens, "group_size": work.group, "prompts_per_step": work.prompts},
                "optimizer": {"lr": LEARNING_RATE, "betas": BETAS, "max_grad_norm": MAX_NORM},
            }
        )
        self.engine = InProcessEngine(self.policy)
        self.trainer = Trainer(self.policy, load_objectives(config.algorithm), config)
        for prompt in self.prompts:
            self.policy.prepare(prompt)

    def rollout(self, step: int) -> list[list[Completion]]:
        return self.engine.rollout(self.prompts, self.work.group, Sampling(1.0, self.work.tokens), seed=0, step=step)

    def train(self, completions: Sequence[list[Completion]], step: int) -> None:
        rewards = self.work.rewards(step).tolist()
        groups = [
            Group(Example(prompt.id, "asr", None, ""), prompt, list(answers), rewards=[Reward(value) for value in row])
            for prompt, answers, row in zip(self.prompts, completions, rewards, strict=True)
        ]
        self.trainer.step(groups, step)

    def step(self, number: int) -> Seconds:
        seconds: Seconds = {}
        with timed(seconds, "rollout", self.device):
            completions = self.rollout(number)
        with timed(seconds, "train", self.device):
            self.train(completions, number)
        return seconds


class Standard:
    """The same steps with transformers alone."""

    def __init__(self, work: Work, arguments: argparse.Namespace) -> None:
        self.work, self.device = work, arguments.device
        self.rows = arguments.rows or work.prompts * work.group
        self.model, processor = recognizer(work.size, arguments.device, arguments.dtype)
        self.model.eval()
        self.audio_token = self.model.config.audio_token_id
        clips = [prompt.waveform for prompt in work.clips()]
        inputs = processor.apply_transcription_request(clips, prompt=[CONTEXT] * len(clips))
        self.inputs = {
            name: value.to(self.device, arguments.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        self.optimizer = MasterAdamW(self.model.named_parameters(), LEARNING_RATE, BETAS, weight_decay=0.0)

    @torch.no_grad()
    def rollout(self, step: int) -> Tensor:
        """Token ids [N, T]."""
        ids = self.model.generate(
            **self.inputs,
            num_return_sequences=self.work.group,
            max_new_tokens=self.work.tokens,
            do_sample=True,
            top_k=0,
            eos_token_id=None,
            suppress_tokens=[self.audio_token],
        )
        return ids[:, self.inputs["input_ids"].shape[1] :]

    def logprobs(self, tokens: Tensor, rows: slice = slice(None)) -> Tensor:
        """[n, T] of the `rows` of `tokens` [N, T] under the distribution sampled from."""
        tokens = tokens[rows]
        expanded = {name: value.repeat_interleave(self.work.group, 0)[rows] for name, value in self.inputs.items()}
        mask = torch.cat([expanded.pop("attention_mask"), torch.ones_like(tokens)], 1)
        ids = torch.cat([expanded.pop("input_ids"), tokens], 1)
        output = self.model(
            input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=tokens.shape[1] + 1, **expanded
        )
        logits = output.logits[:, :-1].float()
        logits[..., self.audio_token] = -torch.inf
        return logits.log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)

    def train(self, tokens: Tensor, step: int) -> None:
        rewards = self.work.rewards(step)
        advantages = (rewards - rewards.mean(-1, keepdim=True)).view(-1, 1).to(self.device)
        for start in range(0, len(tokens), self.rows):
            rows = slice(start, start + self.rows)
            logprobs = self.logprobs(tokens, rows)
            ratio = (logprobs - logprobs.detach()).exp()
            gain = torch.minimum(ratio * advantages[rows], ratio.clamp(1 - CLIP, 1 + CLIP) * advantages[rows])
            (-gain.sum() / tokens.numel()).backward()
        self.optimizer.step(1.0, MAX_NORM)

    def step(self, number: int) -> Seconds:
        seconds: Seconds = {}
        with timed(seconds, "rollout", self.device):
            tokens = self.rollout(number)
        with timed(seconds, "train", self.device):
            self.train(tokens, number)
        return seconds


SIDES = {OURS: Ours, STANDARD: Standard}


def token_ids(completions: Sequence[Sequence[Completion]], device: torch.device) -> Tensor:
    return torch.tensor([one.token_ids for group in completions for one in group], device=device)


def largest_difference(ours: Ours, standard: Standard, completions: Sequence[list[Completion]]) -> float:
    """Between the two sides' log-probabilities of the same tokens."""
    tokens = token_ids(completions, ours.device)
    with torch.no_grad():
        shared = ours.policy.logprobs(ours.policy.encode(ours.prompts), tokens, torch.ones_like(tokens), 1.0)
        return float((shared - standard.logprobs(tokens)).abs().max())


def work_of(train: Callable[[], None]) -> int:
    """Floating-point operations of matrix products and convolutions, forward and backward."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        train()
    return counter.get_total_flops()


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(__doc__, PRESETS, "small", argv, {"rows": "rows of the standard side's passes; all by default"})
    work = PRESETS[arguments.preset]
    if arguments.memory_of:
        side = SIDES[arguments.memory_of](work, arguments)
        for number in range(2):
            side.step(number)
        return report_peak(arguments.device)
    ours, standard = Ours(work, arguments), Standard(work, arguments)
    completions = ours.rollout(0)
    difference = largest_difference(ours, standard, completions)
    seconds = alternate({OURS: ours.step, STANDARD: standard.step}, arguments.rounds)
    tokens = token_ids(completions, ours.device)
    limit = work_of(lambda: standard.train(tokens, 0)) / work_of(lambda: ours.train(completions, 0))
    peaks = {side: peak_mb(__file__, arguments, side) for side in SIDES}
    conclude(
        {
            **{
                f"ratio{suffix}": seconds[STANDARD][phase] / seconds[OURS][phase]
                for suffix, phase in (("", "total"), ("_rollout", "rollout"), ("_train", "train"))
            },
            "limit": limit,
            "memory_ratio": peaks[STANDARD] / peaks[OURS],
            "max_logprob_diff": difference,
            "prompt_tokens": ours.policy.size(ours.prompts[0]),
            "seconds": seconds,
            "peak_mb": peaks,
        },
        arguments,
    )


if __name__ == "__main__":
    main()
