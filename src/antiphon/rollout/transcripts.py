"""Transcripts that a model makes of untranscribed audio, each with its confidence: references where there are none."""

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
from antiphon.models.policy import Policy
from antiphon.rollout.engine import load_engine
from antiphon.tasks.load import prompter
from antiphon.tasks.task import Task, words_of
from antiphon.types import Completion, Example, FinishReason, Text

IN_MEMORY = 256
"""Clips held decoded at once."""


@dataclass(frozen=True)
class Transcript:
    """What a model heard in one clip."""

    id: str
    """The example's."""
    text: str
    language: str | None
    """As the model named it, where it names one."""
    confidence: float
    """Between 0 and 1, see `confidence`."""
    finish_reason: FinishReason
    """"length" when the token limit cut it off."""


def transcribe(
    examples: Sequence[Example],
    labels: Labels,
    config: Config,
    device: torch.device,
    on_progress: Callable[[int], None],
) -> list[Transcript]:
    """The greedy transcript of each example by the model of `labels`, in order; `config` asks it as it asks any other.

    Raises `ModelError` when the model cannot be loaded.
    """
    dtype = resolve_dtype(config.dtype, device)
    policy = load_policy(labels.model, device, dtype, "special", config.output, config.trust_remote_code)
    engine, prompt = load_engine(policy, config.rollout), prompter(config, policy.rate)
    transcripts: list[Transcript] = []
    for start in range(0, len(examples), IN_MEMORY):
        part = examples[start : start + IN_MEMORY]
        completions = engine.greedy([prompt(example) for example in part], config.rollout.max_new_tokens)
        transcripts += [_transcript(policy, prompt.task, *one) for one in zip(part, completions, strict=True)]
        on_progress(len(transcripts))
    return transcripts


def _transcript(policy: Policy, task: Task, example: Example, completion: Completion) -> Transcript:
    answer = policy.render(completion)
    language = answer.language if isinstance(answer, Text) else None
    text = words_of(task.read(answer))
    return Transcript(example.id, text, language, confidence(completion), completion.finish_reason)


def confidence(completion: Completion) -> float:
    """The geometric mean of the tokens' probabilities, the stop token's among them: exp(Σ log p / T).

    Where the whole sequence has one log-probability, that stands for the sum.
    """
    return math.exp(sum(completion.logprobs) / max(len(completion.token_ids), 1))


def relabel(
    examples: Sequence[Example], transcripts: Iterable[Transcript], labels: Labels
) -> tuple[list[Example], str | None]:
    """The examples with their transcripts as texts, less those cut short or not confident; and a word on what is gone.

    A language that the data names stays. Raises `DataError` when nothing is left.
    """
    by_id = {one.id: one for one in transcripts}
    found = [(example, by_id[example.id]) for example in examples]
    whole = [(example, heard) for example, heard in found if heard.finish_reason == "stop"]
    kept = [
        replace(example, text=heard.text, language=example.language or heard.language)
        for example, heard in whole
        if heard.confidence >= labels.min_confidence
    ]
    if len(kept) == len(found):
        return kept, None
    summary = (
        f"of {len(found)} transcripts by {labels.model}, {len(found) - len(whole)} reached rollout.max_new_tokens and "
        f"{len(whole) - len(kept)} fell below labels.min_confidence={labels.min_confidence:g}"
    )
    if not kept:
        best = max((heard.confidence for _, heard in whole), default=0.0)
        enough = math.floor(1000 * best) / 1000
        raise DataError(
            f"{summary}, so none is left to learn from; raise the one, or lower the other to {enough:.3f} or less, "
            "the most confident one's"
        )
    return kept, summary
