"""The protocol that every model family implements.

A policy defines its own actions. `encode` runs the encoder and the prompt once for each distinct prompt;
`sample` and `logprobs` both start from that prefix, so G completions of one clip share one encoder pass and one
prefill, in the rollout and, with gradients, in the loss.

Shape legend: P prompts, N = P·G completions (those of prompt p are rows p·G to p·G+G−1), L prompt tokens,
T completion tokens, V vocabulary, D hidden width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from antiphon.errors import ConfigError
from antiphon.models.logits import Predictions
from antiphon.types import Answer, Completion, Prompt, Words

if TYPE_CHECKING:
    from antiphon.models.limits import Limits


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters. Temperature 0 is greedy decoding.

    `top_k`, `top_p` and `min_p` exclude unlikely tokens (see `antiphon.models.draw.filtered`). Completions still carry
    log-probabilities of the unfiltered distribution, as the loss does: with a filter, samples do not follow these.
    Raises `ConfigError` for a value out of range.
    """

    temperature: float = 1.0
    max_new_tokens: int = 64
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    shorten: bool = False
    """Whether a prompt that leaves room for fewer new tokens gets fewer; else it is refused."""

    def __post_init__(self) -> None:
        wanted = {
            "temperature": (self.temperature >= 0, "at least 0"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "top_k": (self.top_k is None or self.top_k >= 1, "at least 1"),
            "top_p": (self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (self.min_p is None or 0 <= self.min_p <= 1, "from 0 to 1"),
        }
        for name, (good, range_) in wanted.items():
            if not good:
                raise ConfigError(f"{name} must be {range_}, got {getattr(self, name)}")

    @property
    def filters(self) -> bool:
        """Whether a filter excludes tokens."""
        return (self.top_k, self.top_p, self.min_p) != (None, None, None)


Chat = Literal["turns", "one clip"] | None
"""Conversations that a model can have: any number of written turns, or one turn with a clip; None for none."""


class Policy(Protocol):
    """The interface between a model and the training loop."""

    model: Any
    """The transformers model whose parameters are trained."""
    device: torch.device
    version: int
    """Number of training steps that the weights have taken."""
    token_level: bool
    """Whether it is a `TokenPolicy` (see `emits_tokens`); losses with per-token terms must refuse other policies."""
    stepwise: bool
    """Whether actions follow each other, tokens or frames, at most `max_new_tokens` of them; otherwise the whole
    sequence is one action, which nothing cuts short."""

    chat: Chat
    reads: frozenset[Words]
    """Which words of a prompt it reads: a recognizer takes no instruction, a CTC model none at all."""
    transcribes: bool
    """Whether it writes what is said, so that a long recording can be answered piece by piece."""

    @property
    def language(self) -> str | None:
        """The code of the only language that it writes; None where it writes several, or does not say."""
        ...

    @property
    def rate(self) -> int:
        """Sampling rate of the waveforms it takes, in Hz."""
        ...

    @property
    def limits(self) -> Limits:
        """What it can take; `encode`, `sample` and `target` raise `ModelError` for more."""
        ...

    def taken(self, prompt: Prompt) -> int:
        """How many of `limits.positions` the prompt takes, without running the model; 0 where there are none.

        Raises `ModelError` for a prompt that the model does not support, such as one in an unknown language.
        """
        ...

    def size(self, prompt: Prompt) -> int:
        """Number of positions of the prompt in its prefix, computed by the processor without running the model.

        Tokens, including audio tokens; for models whose audio is not part of a token sequence, encoder frames.
        """
        ...

    def encode(self, prompts: Sequence[Prompt]) -> Any:
        """Encode each prompt once. Keeps the graph if gradients are enabled."""
        ...

    def sample(self, prefix: Any, n: int, sampling: Sampling, uniforms: np.ndarray | None) -> list[list[Completion]]:
        """`n` completions for each prompt; `uniforms` [P·n, max_new_tokens] in [0, 1) are the only randomness.

        Greedy decoding (temperature 0) needs none.
        """
        ...

    def logprobs(self, prefix: Any, tokens: Tensor, mask: Tensor, temperature: float) -> Tensor:
        """Log-probabilities (fp32) of `tokens` [N, T] under the distribution sampled from.

        [N, T], 0 off the mask; [N, 1] for families whose action is the whole sequence (see `Completion.logprobs`).
        Where a position has K > 1 ids, `tokens` is [N, T, K] and a log-probability is of the K together.
        """
        ...

    def target(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        """The token ids of `text` in `language` as this model's completion, including framing and stop token.

        Raises `ModelError` if it needs a blocked token, the model has no such label, or it is too long for the model's
        positions or, where the prompt has its waveform, for the clip's frames.
        """
        ...

    def targets(self, prompt: Prompt, texts: Sequence[str], language: str | None) -> list[list[int] | None]:
        """The `target` of each of `texts` after a prompt without a waveform, in one go; None where that raises."""
        ...

    def render(self, completion: Completion, prompt: Prompt | None = None) -> Answer:
        """The answer to `prompt` in a completion, without the model's own framing, such as a language tag.

        Framing that breaks off before its text is an empty answer.
        """
        ...

    def render_begun(self, text: str, prompt: Prompt | None) -> str:
        """What further tokens can no longer change of an answer in words to `prompt` that begins with `text`."""
        ...

    def save(self, folder: Path) -> None:
        """Weights, configuration and processor in `save_pretrained` form."""
        ...


class TokenPolicy(Policy, Protocol):
    """A policy whose actions are tokens of a text vocabulary, with their whole distributions.

    An outside engine samples the same completions if it reads `prompt_ids` and `audio_inputs`, never samples a blocked
    token, and ends a completion at one of `stop_ids`.
    """

    tokenizer: Any
    vocabulary: int
    stop_ids: frozenset[int]
    blocking: Tensor
    """[2, V] bool, True for blocked tokens: row 1 at the first position, row 0 at all others."""

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The exact token ids [L] that the model reads before the completion.

        Placeholders of audio tokens are among them; an encoder-decoder reads them in its decoder.
        """
        ...

    def audio_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        """The prompt's audio by the model's argument names, on the CPU; empty for a text prompt."""
        ...

    def predictions(self, prefix: Any, tokens: Tensor, mask: Tensor, temperature: float) -> Predictions:
        """The distributions that the tokens [N, T] on the `mask` [N, T] were drawn from, row by row, with gradients."""
        ...


def emits_tokens(policy: Policy) -> TypeGuard[TokenPolicy]:
    """Whether the policy gives the distribution of each token."""
    return policy.token_level


@runtime_checkable
class SearchesBeam(Policy, Protocol):
    """A policy that can search for the most probable answer."""

    def beam(self, prefix: Any, width: int) -> list[Completion]:
        """The most probable completion of each prompt in a beam search of `width`."""
        ...


def uniforms_for(seed: int, step: int, example_id: str, samples: range, length: int) -> np.ndarray:
    """Uniforms [len(samples), length] that depend only on (seed, step, example id, sample index).

    Independent of batch layout, world size and restarts: one Philox stream (Salmon et al. 2011) for each sample.
    """
    rows = np.empty((len(samples), length))
    for row, sample in enumerate(samples):
        digest = hashlib.blake2b(f"{seed}/{step}/{example_id}/{sample}".encode(), digest_size=16).digest()
        key = np.frombuffer(digest, dtype=np.uint64)
        rows[row] = np.random.Generator(np.random.Philox(key=key)).random(length)
    return rows
