"""The inputs of algorithms: what they declare that they need, and the tensors they receive.

Shapes: P prompts, G completions each, N = P·G rows (prompt p has rows p·G to p·G+G−1), A actions of a completion
(its tokens, or 1 if the whole sequence is one action).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

MIN_LOGPROB = -100.0
"""Lower bound of a teacher's log-probabilities: a token that it rules out costs much, but not infinity."""


MERGE = "merge"
"""Key of a field's metadata: the function that merges the values of all losses into one for the run."""


def _merged(default: Any, merge: Callable[[Sequence[Any]], Any]) -> Any:
    """A field of `Needs`, with how summed losses share it; `merge` raises `ValueError` if they cannot."""
    return field(default=default, metadata={MERGE: merge})


def _one_source(values: Sequence[str]) -> str:
    if len(set(values)) > 1:
        raise ValueError(f"learn from different completions ({', '.join(sorted(set(values)))})")
    return values[0]


def _most_detailed(values: Sequence[str | None]) -> str | None:
    return max(values, key=(None, "logprobs", "distributions").index)


def _per_loss_or_none(values: Sequence[float | None]) -> float | None:
    """Not shared either: each loss has its own."""
    return values[0] if len(values) == 1 else None


def _per_loss(values: Sequence[str]) -> str:
    """Not shared: the trainer reads each loss's own value. The merged one matters only to a single loss."""
    return values[0] if len(values) == 1 else "all"


@dataclass(frozen=True)
class Needs:
    """What a run must provide for an algorithm with its settings. Each field declares how summed losses share it."""

    source: Literal["samples", "labels", "all"] = _merged("samples", _one_source)
    """Where completions come from: the model's samples, the references, or every label of a classifier."""
    rewards: bool = _merged(True, any)
    reference: bool = _merged(False, any)
    """Whether it uses the reference (initial) model's log-probabilities."""
    teacher: Literal["logprobs", "distributions"] | None = _merged(None, _most_detailed)
    """The teacher's log-probabilities of the sampled tokens, or its whole distribution at each of them."""
    greedy: bool = _merged(False, any)
    """Whether it uses the reward of one greedy completion per prompt, as a baseline."""
    token_level: bool = _merged(False, any)
    """Whether it uses per-token log-probabilities; models with one action per sequence are refused."""
    alignment_credit: bool = _merged(False, any)
    """Whether it uses per-token credit from the alignment with the reference."""
    audio_ctc: bool = _merged(False, any)
    """Whether it adds a CTC loss of the references on the audio states, weighted by the settings' `ctc_weight`."""
    entropy: bool = _merged(False, any)
    """Whether gradients flow through the entropy."""
    recomputed_old: bool = _merged(False, any)
    """Whether it uses the trainer's own log-probabilities under the weights that a step begins with, besides the
    engine's."""
    dynamic_sampling: int = _merged(0, max)
    """The most further rollouts in a step, to replace zero-variance groups."""
    least_group: int = _merged(1, max)
    """The fewest completions of a prompt that it learns from: 2 if it compares them with each other."""
    least_reward: float | None = _merged(None, _per_loss_or_none)
    """A completion with a lower reward teaches nothing; None where every reward counts."""
    mean_over: Literal["groups", "rows", "all", "aligned"] = _merged("groups", _per_loss)
    """What the loss is averaged over: groups with a nonzero advantage, completions with one, every completion, or the
    actions that the teacher scores."""


@dataclass(frozen=True)
class Outcomes:
    """The outcome of a step's rollout, from which advantages are computed."""

    rewards: Tensor
    """[P, G] fp32, 0 where not `valid`."""
    valid: Tensor
    """[P, G] bool, False for a completion whose reward was dropped; it is ignored."""
    first: Tensor
    """[P, G] bool, True for the first of equal completions in its group."""
    lengths: Tensor
    """[P, G] in tokens."""
    max_new_tokens: int | None
    """The length limit in tokens; None if the whole answer is one action, which has no limit."""
    mask: Tensor
    """[P, G, A] 1 on actions that may count in a loss. All 0 for a truncated completion that `rollout.truncated: mask`
    leaves out: it has a reward, and no loss."""
    greedy_rewards: Tensor | None = None
    """[P] rewards of the greedy completions."""
    reference_kl: Tensor | None = None
    """[P, G, A] estimated KL (k1) to the reference model of each action, log p_old − log p_reference; 0 on padding."""


@dataclass(frozen=True)
class Scores:
    """A micro-batch of whole groups as a loss sees it. All [N, A] unless noted, and 0 on padding."""

    logprobs: Tensor
    """Under the current weights. Only these, `entropy` and `divergence` carry gradients."""
    old_logprobs: Tensor
    """Under the weights that this step began with."""
    engine_logprobs: Tensor
    """Under the distribution that the engine sampled from."""
    advantages: Tensor
    weights: Tensor
    """From `token_weights` over the whole minibatch, so that micro-batches add up to its mean; 0 on actions that do
    not count."""
    group_size: int
    first: Tensor
    """[N] bool, True for the first of equal completions in its group."""
    reference_logprobs: Tensor | None = None
    teacher_logprobs: Tensor | None = None
    """At least `MIN_LOGPROB`; the student's own on actions that the teacher does not score."""
    entropy: Tensor | None = None
    """Of each token's distribution, in nats."""
    divergence: Tensor | None = None
    """Between student and teacher at each token, from the algorithm's own `divergence`."""
    compared: Tensor | None = None
    """How many vocabulary entries the divergence compared one by one at each token."""


def asked_for(tensor: Tensor | None, name: str) -> Tensor:
    """`tensor`, the field `name` of `Outcomes` or `Scores`, which is set if the algorithm's `needs` ask for it.

    Raises `ValueError` if it is None.
    """
    if tensor is None:
        raise ValueError(f"the algorithm reads {name!r}, but its `needs` do not ask for it (docs/extend/algorithm.md)")
    return tensor
