"""The parity gate: do engine and trainer agree on the same tokens, and do the log-probabilities depend on the audio?

Reinforcement learning fails silently when the loss sees other log-probabilities than those sampled from, or when the
audio never reaches the model. The gate measures both before the first step.

The ablation scores the same completions with other audio of the same length: each prompt gets the clip of the next.
If that changes nothing, or if there is only one clip, it gets a rising tone as loud as the clip. (Several clips may
have the same answer; reversed speech would keep its vowels, the clip may itself be noise, and some feature extractors
treat digital silence as a special case.) Lengths stay the same, so a model that only counts its audio tokens fails.
Prompts without audio have no ablation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from antiphon.errors import ModelError
from antiphon.models.policy import Policy, Sampling, emits_tokens
from antiphon.rollout.engine import Engine
from antiphon.types import Completion, Prompt

SAMPLES = 2
"""Completions per prompt."""
LARGEST_DIFFERENCE = 1e-4
"""Limit between engine and trainer in fp32, in nats per token."""
LARGEST_KL = 0.015
"""Limit between engine and trainer in bf16 and fp16, in nats per action."""
UNCHANGED = 1e-4
"""A model whose log-probabilities change by no more than this (mean, nats) under other audio ignores its audio."""
_MIN_LOUDNESS = 0.01
_COARSE = ("bfloat16", "float16")

Ablation = Literal["shuffled clips", "a tone"]


@dataclass(frozen=True)
class Check:
    """One condition of the gate."""

    name: str
    value: float
    limit: float
    remedy: str
    """What a failure means and what to do."""
    at_least: bool = False
    """Whether the value must exceed the limit instead of staying within it."""

    @property
    def passed(self) -> bool:
        return self.value > self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class GateReport:
    """The gate's measurements. Differences are in nats per token.

    If the whole sequence is one action (see `Policy.logprobs`), its difference is divided by its tokens.
    """

    precision: str
    """The least precise dtype among the weights, such as `float32`."""
    prompts: int
    actions: int
    """Number of log-probabilities compared."""
    difference_mean: float
    """Mean |engine − trainer|."""
    difference_max: float
    kl: float
    """KL(engine ‖ trainer) per action, k3 estimator (Schulman 2020): mean r − 1 − log r, r = p_trainer / p_engine."""
    prompt_lengths: list[int] | None
    """Tokens (audio tokens included) or frames of each prompt; None if the policy reports none."""
    ablation: Ablation | None
    """The audio with the largest change; None for prompts without audio."""
    ablation_change: float | None
    """Mean |change| of the log-probabilities under that audio."""

    @property
    def checks(self) -> list[Check]:
        """Every condition, and whether it is met."""
        checks = [self._kl() if self.precision in _COARSE else self._difference()]
        return checks if self.ablation is None else [*checks, self._audio_check()]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def require(self) -> None:
        """Raises `ModelError` for the first check that failed, with its number, its limit and what to do."""
        for check in self.checks:
            if not check.passed:
                raise ModelError(f"parity gate: {check.remedy}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "passed": self.passed}

    def _difference(self) -> Check:
        value = self.difference_max
        remedy = (
            f"engine and trainer differ by {value:.3g} nats on the same token; the limit in float32 is "
            f"{LARGEST_DIFFERENCE:g}. Training would use other probabilities than sampling. Check that both have the "
            "same weights, temperature and blocked tokens (antiphon models check MODEL)"
        )
        return Check("largest engine-trainer difference", value, LARGEST_DIFFERENCE, remedy)

    def _kl(self) -> Check:
        remedy = (
            f"the KL between engine and trainer is {self.kl:.3g}; the limit in {self.precision} is {LARGEST_KL:g}. "
            "Training would use other probabilities than sampling. Set dtype=float32, or check that both have the same "
            "weights, temperature and blocked tokens (antiphon models check MODEL)"
        )
        return Check("engine-trainer KL", self.kl, LARGEST_KL, remedy)

    def _audio_check(self) -> Check:
        assert self.ablation_change is not None
        value = self.ablation_change
        remedy = (
            f"the model ignores its audio: its log-probabilities change by only {value:.3g} under {self.ablation}, "
            f"and must change by more than {UNCHANGED:g}. Check that the checkpoint holds the audio encoder and "
            "projector, and that the processor is the model's own"
        )
        return Check(f"change under {self.ablation}", value, UNCHANGED, remedy, at_least=True)


@torch.no_grad()
def run_gate(
    policy: Policy,
    engine: Engine,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
    step: int = 0,
    max_prompts_per_batch: int = 16,
) -> GateReport:
    """Roll out two completions of each prompt, and score the same tokens as the trainer does.

    It uses no global random generator and changes no weight, so it does not affect a run. Raises `ModelError` if the
    model cannot process a prompt; failed checks are in the report.
    """
    groups = engine.rollout(prompts, SAMPLES, sampling, seed, step)
    completions = [completion for group in groups for completion in group]
    units = torch.cat([_units(policy, completion) for completion in completions])
    sampled = torch.cat([torch.tensor(completion.logprobs) for completion in completions])

    def score(asked: Sequence[Prompt]) -> tuple[Tensor, list[int]]:
        return _score(policy, asked, groups, sampling.temperature, max_prompts_per_batch)

    own, lengths = score(prompts)
    own = own.masked_fill(_never_sampled(policy, completions), -torch.inf)
    log_ratio = own - sampled
    difference = log_ratio.abs() / units
    ablation, change = _ablate(prompts, lambda asked: float(((score(asked)[0] - own).abs() / units).mean()))
    return GateReport(
        precision=_precision(policy.model),
        prompts=len(prompts),
        actions=len(own),
        difference_mean=float(difference.mean()),
        difference_max=float(difference.max()),
        kl=float((log_ratio.expm1() - log_ratio).mean()),
        prompt_lengths=lengths or None,
        ablation=ablation,
        ablation_change=change,
    )


def _score(
    policy: Policy, prompts: Sequence[Prompt], groups: Sequence[list[Completion]], temperature: float, size: int
) -> tuple[Tensor, list[int]]:
    """The trainer's log-probabilities of all actions of all completions, on the CPU, `size` prompts at a time.

    Also returns each prompt's length, from `lengths` or `frames` of the policy's prefix if it has them.
    """
    values: list[Tensor] = []
    lengths: list[int] = []
    for start in range(0, len(prompts), size):
        rows = [completion for group in groups[start : start + size] for completion in group]
        ids = [_positions(row) for row in rows]
        kept = [torch.ones(row.length) if row.token_ids else torch.zeros(1) for row in rows]
        tokens, mask = (pad_sequence(list(one), batch_first=True).to(policy.device) for one in (ids, kept))
        prefix = policy.encode(prompts[start : start + size])
        lengths += getattr(prefix, "lengths", getattr(prefix, "frames", torch.empty(0))).tolist()
        scores = policy.logprobs(prefix, tokens, mask, temperature).float().cpu()
        values += [scores[i, : len(row.logprobs)] for i, row in enumerate(rows)]
    return torch.cat(values), lengths


def _positions(completion: Completion) -> Tensor:
    """Token ids [T], or [T, K] if K > 1; a single 0 for an empty completion."""
    ids = torch.tensor(completion.token_ids or (0,) * completion.width, dtype=torch.long)
    return ids if completion.width == 1 else ids.unflatten(0, (-1, completion.width))


def _never_sampled(policy: Policy, completions: Sequence[Completion]) -> Tensor:
    """[A] where an action is a token that no completion opens with; the trainer scores it, as a reference may."""
    opens = [place == 0 for completion in completions for place in range(len(completion.logprobs))]
    if not emits_tokens(policy):
        return torch.zeros(len(opens), dtype=torch.bool)
    ids = torch.cat([_positions(completion) for completion in completions]).to(policy.device)
    return torch.tensor(opens) & policy.blocking[1][ids].cpu()


def _units(policy: Policy, completion: Completion) -> Tensor:
    """[A] how many token ids each log-probability of a completion covers."""
    tokens = completion.width if policy.stepwise else max(len(completion.token_ids), 1)
    return torch.full((len(completion.logprobs),), float(tokens))


def _ablate(prompts: Sequence[Prompt], change: Callable[[list[Prompt]], float]) -> tuple[Ablation | None, float | None]:
    """The ablation with the largest change of the log-probabilities, and that change; stops at the first that passes.

    `change` measures it for prompts with other waveforms. (None, None) for prompts without audio.
    """
    if all(prompt.waveform is None for prompt in prompts):
        return None, None
    changes: dict[Ablation, float] = {}
    if sum(prompt.waveform is not None for prompt in prompts) > 1:
        changes["shuffled clips"] = change(_shuffled(prompts))
    if not any(value > UNCHANGED for value in changes.values()):
        changes["a tone"] = change([_tone(prompt) for prompt in prompts])
    largest = max(changes, key=lambda name: changes[name])
    return largest, changes[largest]


def _shuffled(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Give each prompt with audio the clip of the next such prompt, repeated or cut to its own length."""
    clips = [prompt.waveform for prompt in prompts if prompt.waveform is not None]
    following = iter([*clips[1:], clips[0]])
    return [
        prompt
        if prompt.waveform is None
        else replace(prompt, waveform=np.resize(next(following), len(prompt.waveform)))
        for prompt in prompts
    ]


def _tone(prompt: Prompt) -> Prompt:
    """Replace the clip by a tone that rises from 100 Hz to half the Nyquist frequency, as loud as the clip."""
    if prompt.waveform is None:
        return prompt
    loudness = max(float(np.sqrt(np.mean(np.square(prompt.waveform, dtype=np.float64)))), _MIN_LOUDNESS)
    seconds = np.arange(len(prompt.waveform)) / prompt.rate
    rise = (prompt.rate / 4 - 100) / (2 * prompt.seconds)
    tone = loudness * np.sqrt(2) * np.sin(2 * np.pi * (100 + rise * seconds) * seconds)
    return replace(prompt, waveform=tone.clip(-1, 1).astype(np.float32))


def _precision(model: torch.nn.Module) -> str:
    """The least precise floating-point dtype of the weights."""
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return str(min(dtypes, key=lambda dtype: (dtype.itemsize, str(dtype)))).removeprefix("torch.")
