"""Pseudo-labels: references that a model makes for untranscribed audio, each with its confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from antiphon.config import Config
from antiphon.config.data import Labels
from antiphon.distributed.device import resolve_dtype
from antiphon.errors import DataError
from antiphon.models.load import load_policy
from antiphon.rollout.engine import load_engine
from antiphon.tasks.load import prompter
from antiphon.tasks.task import Task, words_of
from antiphon.types import Answer, Completion, Example, FinishReason, Text

IN_MEMORY = 256
"""Clips held decoded at once."""


@dataclass(frozen=True)
class PseudoLabel:
    """A model's answer to one clip, to serve as its reference."""

    id: str
    """The example's."""
    text: str
    language: str | None
    """As the model named it, where it names one."""
    confidence: float
    """Between 0 and 1, see `confidence`."""
    finish_reason: FinishReason
    """"length" when the token limit cut it off."""


def make_pseudo_labels(
    examples: Sequence[Example],
    labels: Labels,
    config: Config,
    device: torch.device,
    on_progress: Callable[[int], None],
) -> list[PseudoLabel]:
    """The greedy transcript of each example by the model of `labels`, in order; `config` asks it as it asks any other.

    Raises `ModelError` when the model cannot be loaded.
    """
    dtype = resolve_dtype(config.dtype, device)
    policy = load_policy(labels.model, device, dtype, "special", config.output, config.trust_remote_code)
    engine, prompt = load_engine(policy, config.rollout), prompter(config, policy.rate, policy.language, policy.reads)
    made: list[PseudoLabel] = []
    for start in range(0, len(examples), IN_MEMORY):
        part = examples[start : start + IN_MEMORY]
        prompts = [prompt(example) for example in part]
        completions = engine.greedy(prompts, config.rollout.longest)
        answers = [policy.render(*one) for one in zip(completions, prompts, strict=True)]
        made += [_pseudo_label(prompt.task, *one) for one in zip(part, completions, answers, strict=True)]
        on_progress(len(made))
    return made


def _pseudo_label(task: Task, example: Example, completion: Completion, answer: Answer) -> PseudoLabel:
    language = answer.language if isinstance(answer, Text) else None
    text = words_of(task.read(answer))
    return PseudoLabel(example.id, text, language, confidence(completion), completion.finish_reason)


def confidence(completion: Completion) -> float:
    """The geometric mean of the tokens' probabilities, the stop token's among them: exp(Σ log p / T).

    Where the whole sequence has one log-probability, that stands for the sum.
    """
    return math.exp(sum(completion.logprobs) / max(len(completion.token_ids), 1))


def relabel(
    examples: Sequence[Example], made: Iterable[PseudoLabel], labels: Labels
) -> tuple[list[Example], str | None]:
    """The examples with their pseudo-labels as texts, less those cut short or not confident; and how many are gone.

    A language that the data names stays. Raises `DataError` when nothing is left.
    """
    by_id = {one.id: one for one in made}
    labeled = [(example, by_id[example.id]) for example in examples]
    whole = [(example, label) for example, label in labeled if label.finish_reason == "stop"]
    kept = [
        replace(example, text=label.text, language=example.language or label.language)
        for example, label in whole
        if label.confidence >= labels.min_confidence
    ]
    if len(kept) == len(labeled):
        return kept, None
    summary = (
        f"of {len(labeled)} pseudo-labels by {labels.model}, {len(labeled) - len(whole)} reached "
        f"rollout.max_new_tokens and {len(whole) - len(kept)} "
        f"fell below labels.min_confidence={labels.min_confidence:g}"
    )
    if not kept:
        best = max((label.confidence for _, label in whole), default=0.0)
        enough = math.floor(1000 * best) / 1000
        raise DataError(
            f"{summary}, so none is left to learn from; raise the one, or lower the other to {enough:.3f} or less, "
            "the most confident one's"
        )
    return kept, summary
