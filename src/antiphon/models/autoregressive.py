"""Sampling and scoring for models that emit one token at a time after a cached prefix.

A family says how a prompt becomes a `Prefix` (`encode`) and how tokens extend it (`_extend`); everything else is
here, once: the decoding loop, the log-probabilities of given completions, and which tokens may be sampled at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from antiphon.errors import ModelError
from antiphon.models.logits import Predictions, log_softmax
from antiphon.models.policy import Sampling, inverse_cdf_sample
from antiphon.types import Completion, FinishReason, Prompt


@dataclass
class Prefix:
    """P prompts after one pass: keys and values, and what the next token is predicted from."""

    cache: Cache
    mask: Tensor
    """[P, L], 1 where a prompt token stands; prompts are padded on the left."""
    hidden: Tensor
    """[P, D], the last prompt position."""

    @property
    def lengths(self) -> Tensor:
        """[P] prompt tokens, audio tokens included."""
        return self.mask.sum(-1)


def pad_left(rows: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids [P, L] of `rows` of unequal length, 0 on padding, and their mask."""
    length = max(len(row) for row in rows)
    ids = torch.stack([nn.functional.pad(row, (length - len(row), 0)) for row in rows])
    mask = torch.stack([nn.functional.pad(torch.ones_like(row), (length - len(row), 0)) for row in rows])
    return ids.to(device), mask.to(device)


class Autoregressive:
    """The part of a `Policy` that does not depend on what the prompt is made of. The model stays in eval mode."""

    token_level = True

    def __init__(
        self,
        model: Any,
        head: nn.Module,
        tokenizer: Any,
        block_tokens: Sequence[int] | str,
        never: Sequence[int] = (),
        never_first: Sequence[int] = (),
    ) -> None:
        """`head` turns hidden states into logits.

        `never` are tokens that may not be sampled whatever is asked, `never_first` those that may not open a
        completion, be they stop tokens.
        """
        self.model: Any = model.eval()
        self.head: Any = head
        self.tokenizer = tokenizer
        self.version = 0
        weight = self.head.weight
        self.device, self.vocabulary = weight.device, weight.shape[0]
        self.stop_ids = _stop_ids(model)
        self.blocked = self._blocked(block_tokens, never).to(self.device)
        self.blocked_first = self.blocked.clone()
        self.blocked_first[list(never_first)] = True
        self._blocking = torch.stack([self.blocked, self.blocked_first])

    def _blocked(self, block_tokens: Sequence[int] | str, never: Sequence[int]) -> Tensor:
        """[V], True for tokens that are never sampled: by default every special token but the stop tokens."""
        blocked = torch.zeros(self.vocabulary, dtype=torch.bool)
        if block_tokens == "special":
            special = [i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special]
            blocked[[i for i in special if i < self.vocabulary]] = True
            blocked[len(self.tokenizer) :] = True
        else:
            blocked[[int(token) for token in block_tokens]] = True
        blocked[list(never)] = True
        blocked[sorted(self.stop_ids)] = False
        return blocked

    def _repeat(self, cache: Any, n: int) -> Any:
        """A cache whose every prompt serves `n` rows in a row; the original is left as it was, gradients flow."""
        return repeat(cache, n)

    def _extend(self, cache: Any, mask: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        """Hidden states [N, S, D] of `tokens` [N, S] after the cache; `mask` [N, cached + S]."""
        raise NotImplementedError

    def predictions(self, prefix: Prefix, tokens: Tensor, mask: Tensor, temperature: float = 1.0) -> Predictions:
        """What the M tokens of `tokens` [N, T] on the `mask` [N, T] are predicted from, row by row; gradients flow."""
        taken = mask.bool()
        group = len(tokens) // len(prefix.mask)
        hidden = prefix.hidden.repeat_interleave(group, 0)[:, None]
        if tokens.shape[1] > 1:
            prompt_mask = prefix.mask.repeat_interleave(group, 0)
            inputs = tokens[:, :-1]
            positions = prompt_mask.sum(-1, keepdim=True) + torch.arange(inputs.shape[1], device=self.device)
            full_mask = torch.cat([prompt_mask, mask[:, :-1].to(prompt_mask)], 1)
            states = self._extend(self._repeat(prefix.cache, group), full_mask, inputs, positions)
            hidden = torch.cat([hidden, states], 1)
        first = torch.zeros_like(tokens)
        first[:, 0] = 1
        return Predictions(self.head, hidden[taken], first[taken], self._blocking, temperature)

    def logprobs(self, prefix: Prefix, tokens: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        taken = mask.bool()
        values = self.predictions(prefix, tokens, mask, temperature).tokens(tokens[taken])
        return values.new_zeros(mask.shape).masked_scatter(taken, values)

    def top_logprobs(
        self, prefix: Prefix, tokens: Tensor, mask: Tensor, k: int, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The `k` largest log-probabilities [N, T, k] where each of `tokens` stands, and their ids [N, T, k].

        Largest first, 0 off the mask. Raises `ModelError` when the vocabulary has fewer than `k` tokens.
        """
        taken = mask.bool()[..., None]
        values, ids = self.predictions(prefix, tokens, mask, temperature).top(k)
        shape = (*mask.shape, k)
        return values.new_zeros(shape).masked_scatter(taken, values), ids.new_zeros(shape).masked_scatter(taken, ids)

    def target(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        ids = self.tokenizer(self._framed(prompt, text, language), add_special_tokens=False)["input_ids"]
        ids = [*ids, _stop_list(self.model)[0]]
        forbidden = [i for place, i in enumerate(ids) if (self.blocked if place else self.blocked_first)[i]]
        if forbidden:
            raise ModelError(
                f"prompt {prompt.id!r}: the text {text[:60]!r} takes token {forbidden[0]} "
                f"({self.tokenizer.decode(forbidden[:1])!r}), which is blocked; correct the text, or unblock it"
            )
        return ids

    def _framed(self, prompt: Prompt, text: str, language: str | None) -> str:
        """`text` as the model words it."""
        return text

    @torch.no_grad()
    def sample(
        self, prefix: Prefix, n: int, sampling: Sampling, uniforms: np.ndarray | None = None
    ) -> list[list[Completion]]:
        greedy = sampling.temperature == 0
        if not greedy and uniforms is None:
            raise ValueError("sampling at a temperature above 0 needs `uniforms`")
        total, limit = len(prefix.mask) * n, sampling.max_new_tokens
        tokens = torch.zeros(total, limit, dtype=torch.long, device=self.device)
        logprobs = torch.zeros(total, limit, device=self.device)
        lengths = torch.full((total,), limit, device=self.device)
        stopped = torch.zeros(total, dtype=torch.bool, device=self.device)
        stops = torch.tensor(sorted(self.stop_ids), device=self.device)
        draws = None if greedy else torch.from_numpy(uniforms).to(self.device)

        rows = torch.arange(total, device=self.device)
        cache, mask = self._repeat(prefix.cache, n), prefix.mask.repeat_interleave(n, 0)
        hidden, positions = prefix.hidden.repeat_interleave(n, 0), mask.sum(-1, keepdim=True)
        for t in range(limit):
            blocked = self.blocked if t else self.blocked_first
            scores = log_softmax(self.head, hidden, blocked, sampling.temperature or 1.0)
            chosen = scores.argmax(-1) if draws is None else inverse_cdf_sample(scores, draws[rows, t])
            tokens[rows, t] = chosen
            logprobs[rows, t] = scores.gather(-1, chosen[:, None]).squeeze(-1)
            ends = torch.isin(chosen, stops)
            stopped[rows] = ends
            lengths[rows[ends]] = t + 1
            going = (~ends).nonzero().squeeze(-1)
            if len(going) == 0 or t == limit - 1:
                break
            if len(going) < len(rows):
                rows, mask, positions, chosen = rows[going], mask[going], positions[going], chosen[going]
                cache.batch_select_indices(going)
            mask = nn.functional.pad(mask, (0, 1), value=1)
            hidden = self._extend(cache, mask, chosen[:, None], positions)[:, -1]
            positions = positions + 1
        return self._completions(n, tokens, logprobs, lengths, stopped)

    def _completions(
        self, n: int, tokens: Tensor, logprobs: Tensor, lengths: Tensor, stopped: Tensor
    ) -> list[list[Completion]]:
        if logprobs.isnan().any():
            raise ModelError(
                "the model's probabilities are not numbers (NaN): training has diverged, or the checkpoint is damaged; "
                "lower optimizer.lr, or take an earlier checkpoint"
            )
        ids, values, ended = tokens.tolist(), logprobs.tolist(), stopped.tolist()
        rows = [ids[i][:length] for i, length in enumerate(lengths.tolist())]
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        completions = []
        for i, row in enumerate(rows):
            reason: FinishReason = "stop" if ended[i] else "length"
            completions.append(Completion(tuple(row), tuple(values[i][: len(row)]), texts[i], reason, self.version))
        return [completions[i : i + n] for i in range(0, len(completions), n)]


def repeat(cache: Any, n: int) -> DynamicCache:
    """A cache whose every prompt appears `n` times in a row; the original is left as it was, gradients flow."""
    layers = [(layer.keys.repeat_interleave(n, 0), layer.values.repeat_interleave(n, 0)) for layer in cache.layers]
    return DynamicCache(layers)


def _stop_ids(model: Any) -> frozenset[int]:
    return frozenset(_stop_list(model))


def _stop_list(model: Any) -> list[int]:
    """The generation config's end-of-sequence ids, else the model config's."""
    for config in (getattr(model, "generation_config", None), model.config):
        ids = getattr(config, "eos_token_id", None)
        if ids is not None:
            return [ids] if isinstance(ids, int) else list(ids)
    raise ModelError("the model's configuration names no eos_token_id, so no completion could ever stop")
