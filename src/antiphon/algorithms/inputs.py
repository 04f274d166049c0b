"""What an algorithm asks for and what it is given: tensors alone.

Shapes: P prompts, G completions each, N = P·G rows (those of prompt p are p·G to p·G+G−1), A actions of a completion
(its tokens, or 1 where the whole sequence is one action).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

LEAST = -100.0
"""A teacher's log-probabilities below this are taken for it: a token that it rules out costs much, not infinity."""


MERGE = "merge"
"""Key of a field's metadata: the function that makes of all losses' values the one of their run."""


def _merged(default: Any, merge: Callable[[Sequence[Any]], Any]) -> Any:
    """A field of `Needs`, and how losses that are summed share it; `merge` raises `ValueError` where they cannot."""
    return field(default=default, metadata={MERGE: merge})


def _one_source(values: Sequence[str]) -> str:
    if len(set(values)) > 1:
        raise ValueError(f"learn from different completions ({', '.join(sorted(set(values)))})")
    return values[0]


def _most_told(values: Sequence[str | None]) -> str | None:
    return max(values, key=(None, "logprobs", "distributions").index)


def _of_each_loss(values: Sequence[str]) -> str:
    """Nothing is shared: the trainer asks every loss for its own. A run has the value of a loss alone."""
    return values[0] if len(values) == 1 else "all"


@dataclass(frozen=True)
class Needs:
    """What a run has to provide for an algorithm with its settings. Each field says how summed losses share it."""

    source: Literal["samples", "labels", "all"] = _merged("samples", _one_source)
    """Where completions come from: the model's samples, the references, or every label of a classifier."""
    rewards: bool = _merged(True, any)
    reference: bool = _merged(False, any)
    """The initial model's log-probabilities."""
    teacher: Literal["logprobs", "distributions"] | None = _merged(None, _most_told)
    """The teacher's log-probabilities of the sampled tokens, or all that it would have said at each of them."""
    greedy: bool = _merged(False, any)
    """The reward of one greedy completion a prompt."""
    token_level: bool = _merged(False, any)
    """Log-probabilities token by token; models whose action is the whole sequence must refuse."""
    alignment_credit: bool = _merged(False, any)
    audio_ctc: bool = _merged(False, any)
    """CTC of the references over the audio states, weighted by the settings' `ctc_weight`."""
    entropy: bool = _merged(False, any)
    """Gradients through the entropy."""
    recomputed_old: bool = _merged(False, any)
    """The trainer's own log-probabilities of the weights a step begins with, beside the engine's."""
    dynamic_sampling: int = _merged(0, max)
    """Most further rollouts in a step to replace groups without spread."""
    mean_over: Literal["groups", "rows", "all", "aligned"] = _merged("groups", _of_each_loss)
    """What counts in the mean: groups with an advantage, completions with one, every completion, or the actions that
    the teacher has an opinion of."""


@dataclass(frozen=True)
class Outcomes:
    """A step's rollout, before anything is learned from it."""

    rewards: Tensor
    """[P, G] fp32, 0 where not `valid`."""
    valid: Tensor
    """[P, G] bool, False for a completion whose reward was dropped; it counts nowhere."""
    first: Tensor
    """[P, G] bool, True for the first of equal completions in its group."""
    lengths: Tensor
    """[P, G] tokens."""
    max_new_tokens: int | None
    """The longest completion; None where the whole answer is one action, which nothing cuts short."""
    greedy_rewards: Tensor | None = None
    """[P]"""
    reference_kl: Tensor | None = None
    """[P, G] the estimated KL to the reference, summed over the completion."""


@dataclass(frozen=True)
class Scores:
    """A micro-batch of whole groups as a loss sees it. All [N, A] unless said, and 0 on padding."""

    logprobs: Tensor
    """Carries gradients, as do `entropy` and `divergence`; nothing else does."""
    old_logprobs: Tensor
    """Of the weights that this step began with."""
    engine_logprobs: Tensor
    """Of the distribution that was in fact sampled from."""
    advantages: Tensor
    weights: Tensor
    """From `token_weights` over the whole minibatch, so that the sums of micro-batches add up; 0 on what does not
    count."""
    group_size: int
    first: Tensor
    """[N] bool, True for the first of equal completions in its group."""
    reference_logprobs: Tensor | None = None
    teacher_logprobs: Tensor | None = None
    """At least `LEAST`; the student's own where the teacher has no opinion."""
    entropy: Tensor | None = None
    divergence: Tensor | None = None
    """Between student and teacher at each token, by the algorithm's own `divergence`."""
    compared: Tensor | None = None
    """Tokens of the vocabulary that the divergence compared one by one at each token."""


def asked_for(tensor: Tensor | None, name: str) -> Tensor:
    """`tensor`, which `Outcomes` or `Scores` has as `name` for an algorithm whose `needs` ask for it.

    Raises `ValueError` where they do not.
    """
    if tensor is None:
        raise ValueError(f"the algorithm reads {name!r}, and its `needs` do not ask for it (docs/extend/algorithm.md)")
    return tensor
