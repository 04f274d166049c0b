"""The protocol every model family implements, and the small pieces they share.

A policy owns the geometry of its actions. `encode` hears each distinct prompt once; `sample` and `logprobs` both
start from that prefix, so G completions of one clip share one encoder pass and one prefill, in the rollout and,
with gradients, in the loss.

Shape legend: P prompts, N = P·G completions (those of prompt p are rows p·G to p·G+G−1), L prompt tokens,
T completion tokens, V vocabulary, D hidden width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from antiphon.types import Completion, Prompt


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. Temperature 0 is greedy decoding."""

    temperature: float = 1.0
    max_new_tokens: int = 64


class Policy(Protocol):
    """What the loop needs of a model."""

    model: Any
    """The transformers model whose parameters are trained."""
    device: torch.device
    version: int
    """Steps of the loop that the weights have learnt from."""
    token_level: bool
    """Whether an action is a token; otherwise it is the whole sequence, and what needs per-token terms must refuse."""

    @property
    def rate(self) -> int:
        """Sampling rate of the waveforms it hears, in Hz."""
        ...

    def size(self, prompt: Prompt) -> int:
        """Positions the prompt takes in its prefix, from the processor alone: the model does not run.

        Tokens, audio tokens included; for models whose audio is no part of a token sequence, the encoder's frames.
        """
        ...

    def encode(self, prompts: Sequence[Prompt]) -> Any:
        """Hear each prompt once. Keeps the graph when gradients are enabled."""
        ...

    def sample(self, prefix: Any, n: int, sampling: Sampling, uniforms: np.ndarray | None) -> list[list[Completion]]:
        """`n` completions for each prompt; `uniforms` [P·n, max_new_tokens] in [0, 1) are all the randomness.

        Greedy decoding (temperature 0) needs none.
        """
        ...

    def logprobs(self, prefix: Any, tokens: Tensor, mask: Tensor, temperature: float) -> Tensor:
        """Log-probabilities (fp32) of `tokens` [N, T] under the distribution sampled from.

        [N, T], 0 off the mask; [N, 1] for families whose action is the whole sequence (see `Completion.logprobs`).
        """
        ...

    def target(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        """The completion that says `text`, spoken in `language`, as this model would: framing and stop token included.

        Raises `ModelError` when it has a token that may not be sampled, or the model has no such label.
        """
        ...

    def answer(self, text: str) -> str:
        """A completion's text without the model's own framing, such as a language tag."""
        ...

    def save(self, folder: Path) -> None:
        """Weights, configuration and processor in `save_pretrained` form."""
        ...


def uniforms_for(seed: int, step: int, example_id: str, samples: range, length: int) -> np.ndarray:
    """Uniforms [len(samples), length] that depend on (seed, step, example id, sample index) alone.

    Independent of batch layout, world size and restarts: one Philox stream (Salmon et al. 2011) for each sample.
    """
    rows = np.empty((len(samples), length))
    for row, sample in enumerate(samples):
        digest = hashlib.blake2b(f"{seed}/{step}/{example_id}/{sample}".encode(), digest_size=16).digest()
        key = np.frombuffer(digest, dtype=np.uint64)
        rows[row] = np.random.Generator(np.random.Philox(key=key)).random(length)
    return rows


def inverse_cdf_sample(logprobs: Tensor, uniforms: Tensor) -> Tensor:
    """Token ids [N] whose cumulative probability first exceeds `uniforms` [N]; `logprobs` is [N, V].

    Summed in float64, so that a vocabulary of 150k tokens keeps its tail; a token of probability zero is never
    taken, since `u < 1` scales to below the total.
    """
    cumulative = logprobs.double().exp().cumsum(-1)
    targets = uniforms.to(cumulative)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).squeeze(-1).clamp_(max=logprobs.shape[-1] - 1)
