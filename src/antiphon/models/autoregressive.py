"""Sampling and scoring for models that emit one token at a time after a cached prefix.

A family implements `encode` (prompt to `Prefix`) and `extend` (tokens after it). The rest is here: completions,
log-probabilities of given tokens, and blocked tokens. The decoding loop is in `decoding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from antiphon.errors import ModelError
from antiphon.models.decoding import Decoding, Row
from antiphon.models.fold import Fold
from antiphon.models.limits import Limits, has_any
from antiphon.models.logits import Predictions
from antiphon.models.policy import Chat, Sampling
from antiphon.models.prefix import Prefix, repeat
from antiphon.types import Completion, Prompt, Text, Words


class Autoregressive:
    """The part of a `Policy` that does not depend on the prompt's modality. The model stays in eval mode."""

    token_level = True
    stepwise = True
    chat: Chat = None
    reads: frozenset[Words] = frozenset({"instruction", "context"})
    transcribes = True

    def __init__(
        self,
        model: Any,
        head: nn.Module,
        tokenizer: Any,
        block_tokens: Sequence[int] | str,
        never: Sequence[int] = (),
        never_first: Sequence[int] = (),
    ) -> None:
        """`head` maps hidden states to logits.

        `never` tokens are always blocked, whatever `block_tokens` says. `never_first` tokens are blocked at the first
        position of a completion, even if they are stop tokens.
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
        self.blocking = torch.stack([self.blocked, self.blocked_first])
        self.groups_attention = False if _slides(model) else None

    def _blocked(self, block_tokens: Sequence[int] | str, never: Sequence[int]) -> Tensor:
        """[V] bool, True for tokens that are never sampled: by default all special tokens except stop tokens."""
        blocked = torch.zeros(self.vocabulary, dtype=torch.bool)
        if block_tokens == "special":
            special = [i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special]
            blocked[[i for i in special if i < self.vocabulary]] = True
        else:
            blocked[[int(token) for token in block_tokens]] = True
        blocked[len(self.tokenizer) :] = True  # Padding of the vocabulary: no token has these ids.
        blocked[list(never)] = True
        blocked[sorted(self.stop_ids)] = False
        return blocked

    def size(self, prompt: Prompt) -> int:
        """Length of the prompt in tokens (see `Policy.size`)."""
        raise NotImplementedError

    @property
    def limits(self) -> Limits:
        """What it can take (see `Policy.limits`)."""
        raise NotImplementedError

    def taken(self, prompt: Prompt) -> int:
        return self.size(prompt)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The token ids [L] that the model reads of the prompt (see `TokenPolicy.prompt_ids`)."""
        raise NotImplementedError

    def audio_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        """The prompt's audio as model inputs (see `TokenPolicy.audio_inputs`)."""
        raise NotImplementedError

    def encode(self, prompts: Sequence[Prompt]) -> Prefix:
        """The prefix of P prompts."""
        raise NotImplementedError

    def attach(self, cache: Cache, prefix: Prefix, groups: Fold) -> Any:
        """The model's past key values: `cache` for the rows of `groups`, and whatever else its layers attend to."""
        return cache

    def extend(self, past: Any, mask: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        """Hidden states [N, S, D] of `tokens` [N, S] after the past; `mask` [N, cached + S], or a 4-D mask."""
        raise NotImplementedError

    def predictions(self, prefix: Prefix, tokens: Tensor, mask: Tensor, temperature: float = 1.0) -> Predictions:
        """The distributions of the M tokens of `tokens` [N, T] on the `mask` [N, T], row by row; gradients flow."""
        self._require_room(prefix, mask)
        taken = mask.bool()
        group = len(tokens) // len(prefix.mask)
        hidden = prefix.hidden.repeat_interleave(group, 0)[:, None]
        if tokens.shape[1] > 1:
            prompt_mask = prefix.mask.repeat_interleave(group, 0)
            inputs = tokens[:, :-1]
            positions = prompt_mask.sum(-1, keepdim=True) + torch.arange(inputs.shape[1], device=self.device)
            full_mask = torch.cat([prompt_mask, mask[:, :-1].to(prompt_mask)], 1)
            groups = Fold(torch.arange(len(prefix.mask), device=self.device).repeat_interleave(group))
            past = self.attach(repeat(prefix.cache, group), prefix, groups)
            states = self.extend(past, full_mask, inputs, positions)
            hidden = torch.cat([hidden, states], 1)
        # A reference may open with a token that no sample opens with: its distribution is then that of other positions.
        first = torch.zeros_like(tokens)
        first[:, 0] = (~self.blocked_first | self.blocked)[tokens[:, 0]]
        return Predictions(self.head, hidden[taken], first[taken], self.blocking, temperature)

    def logprobs(self, prefix: Prefix, tokens: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        taken = mask.bool()
        values = self.predictions(prefix, tokens, mask, temperature).tokens(tokens[taken])
        return values.new_zeros(mask.shape).masked_scatter(taken, values)

    def _require_room(self, prefix: Prefix, mask: Tensor) -> None:
        positions = self.limits.positions
        if positions is None or prefix.mask.shape[1] + mask.shape[1] <= positions:
            return
        lengths = prefix.lengths.repeat_interleave(len(mask) // len(prefix.mask))
        own = mask.bool().sum(-1)
        longest = int((lengths + own).argmax())
        if int(lengths[longest] + own[longest]) > positions:
            raise ModelError(self.limits.too_many(int(own[longest]), int(lengths[longest])))

    def top_logprobs(
        self, prefix: Prefix, tokens: Tensor, mask: Tensor, k: int, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The `k` largest log-probabilities [N, T, k] at the position of each token, and their ids [N, T, k].

        Largest first, 0 off the mask. Raises `ModelError` if the vocabulary has fewer than `k` tokens.
        """
        taken = mask.bool()[..., None]
        values, ids = self.predictions(prefix, tokens, mask, temperature).top(k)
        shape = (*mask.shape, k)
        return values.new_zeros(shape).masked_scatter(taken, values), ids.new_zeros(shape).masked_scatter(taken, ids)

    def target(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        ids = self._tokenized(self._framed(prompt, text, language))
        self._require_sayable(prompt, text, ids)
        room = self.limits.room(0)
        if room is not None and len(ids) >= room:
            raise ModelError(
                f"prompt {prompt.id!r}: the text {text[:60]!r} takes {len(ids) + 1} tokens, but this model has {room} "
                "positions; split the clip and its text, or drop it"
            )
        return [*ids, self._own_stop()]

    def targets(self, prompt: Prompt, texts: Sequence[str], language: str | None) -> list[list[int] | None]:
        rows = self._all_tokenized([self._framed(prompt, text, language) for text in texts])
        never = self.blocked.cpu().numpy().copy()
        never[sorted(self.stop_ids)] = True
        room, stop = self.limits.room(0), self._own_stop()
        return [
            None if unsayable or (room is not None and len(ids) >= room) else [*ids, stop]
            for ids, unsayable in zip(rows, has_any(rows, never), strict=True)
        ]

    def _require_sayable(self, prompt: Prompt, text: str, ids: list[int]) -> None:
        known = [i for i in ids if i < self.vocabulary]
        blocked = {i for i, never in zip(known, self.blocked[known].tolist(), strict=True) if never}
        for i in ids:
            if i in self.stop_ids:
                fault = "which ends an answer; correct the text"
            elif i in blocked or i >= self.vocabulary:
                fault = "which is blocked; correct the text, or unblock the token"
            else:
                continue
            name = self.tokenizer.decode([i])
            raise ModelError(f"prompt {prompt.id!r}: the text {text[:60]!r} takes token {i} ({name!r}), {fault}")

    def _tokenized(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _all_tokenized(self, texts: Sequence[str]) -> list[list[int]]:
        """Like `_tokenized`, of several texts at once."""
        how = {"add_special_tokens": False, "return_attention_mask": False}
        return self.tokenizer(list(texts), **how)["input_ids"] if texts else []

    def transcript_ids(self, prompt: Prompt, text: str, language: str | None) -> list[int]:
        """The tokens of `text` within the completion for it, without framing and stop token."""
        framing = self._tokenized(self._framed(prompt, "", language))
        return self.target(prompt, text, language)[len(framing) : -1]

    def _own_stop(self) -> int:
        """The stop token of target completions: of several, the tokenizer's end of sequence (end of turn, in chats)."""
        own = getattr(self.tokenizer, "eos_token_id", None)
        return own if own in self.stop_ids else _stop_list(self.model)[0]

    @property
    def language(self) -> str | None:
        return None

    def _framed(self, prompt: Prompt, text: str, language: str | None) -> str:
        """`text` with the model's own framing."""
        return text

    def render(self, completion: Completion, prompt: Prompt | None = None) -> Text:
        return Text(completion.text.strip())

    def render_begun(self, text: str, prompt: Prompt | None) -> str:
        return text.strip()

    @torch.no_grad()
    def sample(
        self, prefix: Prefix, n: int, sampling: Sampling, uniforms: np.ndarray | None = None
    ) -> list[list[Completion]]:
        own = [self.limits.within(sampling, taken) for taken in prefix.lengths.tolist()]
        rows = [
            [Row(one, None if uniforms is None else uniforms[p * n + i]) for i in range(n)] for p, one in enumerate(own)
        ]
        decoding = Decoding(self)
        decoding.admit(prefix, rows)
        while decoding.active:
            decoding.step()
        return [[self.completion(row) for row in group] for group in rows]

    def completion(self, row: Row) -> Completion:
        """The completion of a finished row."""
        assert row.finish_reason is not None
        text = self.tokenizer.decode(row.token_ids, skip_special_tokens=True)
        return Completion(tuple(row.token_ids), tuple(row.logprobs), text, row.finish_reason, self.version)


def _stop_ids(model: Any) -> frozenset[int]:
    return frozenset(_stop_list(model))


def _stop_list(model: Any) -> list[int]:
    """The generation config's end-of-sequence ids, else the model config's."""
    for config in (getattr(model, "generation_config", None), model.config):
        ids = getattr(config, "eos_token_id", None)
        if ids is not None:
            return [ids] if isinstance(ids, int) else list(ids)
    raise ModelError("the model's configuration has no eos_token_id, so completions could never stop; add one")


def _slides(model: Any) -> bool:
    """Whether some decoder layers use sliding-window attention."""
    return any(DynamicCache(config=model.config).is_sliding)
