"""The model's input for a request, its encoding, and log-probabilities of prompt tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from antiphon.models.policy import Policy
from antiphon.models.prefix import Prefix, join
from antiphon.types import Prompt

Expected = dict[int, tuple[float, int]]
"""Token id -> log-probability and rank, for the most probable tokens at a position and the actual one."""


@dataclass(frozen=True, eq=False)
class Question:
    """A clip with token ids after it, or token ids only."""

    prompt: Prompt | None
    token_ids: tuple[int, ...] = ()

    def size(self, policy: Policy) -> int:
        """Its length in positions. Raises `ModelError` if the model does not support it."""
        return len(self.token_ids) + (0 if self.prompt is None else policy.size(self.prompt))

    def taken(self, policy: Policy) -> int:
        """How many of the model's positions it takes (see `Policy.taken`)."""
        return len(self.token_ids) + (0 if self.prompt is None else policy.taken(self.prompt))

    def ids(self, policy: Any) -> list[int]:
        """All token ids, including the clip's placeholders."""
        before = [] if self.prompt is None else policy.prompt_ids(self.prompt)
        return [*before, *self.token_ids]


def begin(policy: Any, questions: Sequence[Question]) -> Prefix:
    """Encode several questions of one kind to a prefix."""
    prompts = [question.prompt for question in questions if question.prompt is not None]
    if not prompts:
        return policy.read([torch.tensor(question.token_ids) for question in questions])
    if not any(question.token_ids for question in questions):
        return policy.encode(prompts)
    read = [policy.encode([prompt]) for prompt in prompts]
    return join([_read_on(policy, *one) for one in zip(read, questions, strict=True)])


def expect(policy: Any, question: Question, top: int) -> list[Expected | None]:
    """Log-probabilities of each token of the question, without blocked tokens.

    None for the first token, and for the prompt tokens if there is a clip, as only the text after it is scored.
    """
    ids = question.ids(policy)
    known = 1 if question.prompt is None else len(ids) - len(question.token_ids)
    none: list[Expected | None] = [None] * known
    rest = ids[known:]
    if not rest:
        return none
    prefix = begin(policy, [Question(question.prompt, () if question.prompt else tuple(ids[:known]))])
    tokens = torch.tensor([rest], device=policy.device)
    predictions = policy.predictions(prefix, tokens, torch.ones_like(tokens))
    free = replace(predictions, blocked=torch.zeros_like(predictions.blocked))
    values, best = free.top(min(top, policy.vocabulary)) if top else (tokens.new_zeros(len(rest), 0),) * 2
    said = free.tokens(tokens[0])
    ranks = free.map(lambda scores, own: (scores > own[:, None]).sum(-1) + 1, said)
    rows = zip(rest, said.tolist(), ranks.tolist(), best.tolist(), values.tolist(), strict=True)
    return [*none, *(_place(*row) for row in rows)]


def _place(token: int, logprob: float, rank: int, ids: list[int], values: list[float]) -> Expected:
    top = {i: (value, place) for place, (i, value) in enumerate(zip(ids, values, strict=True), 1)}
    return {token: (logprob, rank)} | top


def _read_on(policy: Any, prefix: Prefix, question: Question) -> Prefix:
    """Extend the prefix by the question's own tokens."""
    if not question.token_ids:
        return prefix
    tokens = torch.tensor([question.token_ids], device=policy.device)
    mask = torch.cat([prefix.mask, torch.ones_like(tokens)], 1)
    positions = prefix.lengths[:, None] + torch.arange(tokens.shape[1], device=policy.device)
    states: Tensor = policy.extend(prefix.cache, mask, tokens, positions)
    return replace(prefix, mask=mask, hidden=states[:, -1])
