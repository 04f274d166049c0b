"""How evaluation decodes: the most probable token at each step, or a beam search where the model has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from antiphon.errors import ModelError
from antiphon.models.policy import Policy, SearchesBeam
from antiphon.rollout.engine import Engine
from antiphon.types import Completion, Prompt

Decode = Callable[[Sequence[Prompt], int], list[Completion]]
"""(prompts, most new tokens) -> a completion for each, in order."""


def decoder(policy: Policy, engine: Engine, batch_size: int, beam: int | None = None) -> Decode:
    """Greedy decoding by `engine`, `batch_size` clips at a time, or beam search of width `beam` by the policy itself.

    Raises `ModelError` when a beam is asked of a model that has no beam search.
    """
    if beam is None:
        return lambda prompts, max_new_tokens: engine.greedy(prompts, max_new_tokens, batch_size)
    if not isinstance(policy, SearchesBeam):
        raise ModelError(
            f"beam search is for CTC models, and {type(policy.model).__name__} is none: it decodes greedily; "
            "leave out --beam (eval.beam)"
        )
    return _beam_search(policy, batch_size, beam)


def _beam_search(policy: SearchesBeam, batch_size: int, width: int) -> Decode:
    @torch.no_grad()
    def decode(prompts: Sequence[Prompt], max_new_tokens: int) -> list[Completion]:
        order = sorted(range(len(prompts)), key=lambda i: -prompts[i].seconds)
        found: dict[int, Completion] = {}
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            prefix = policy.encode([prompts[i] for i in chosen])
            found.update(zip(chosen, policy.beam(prefix, width), strict=True))
        return [found[i] for i in range(len(prompts))]

    return decode
