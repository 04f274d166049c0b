"""What the answers of an evaluation earn: the mean reward with its interval, and the best of several answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from antiphon.errors import RewardError
from antiphon.evaluate.bootstrap import bootstrap_ci
from antiphon.evaluate.recognize import Transcript
from antiphon.rewards.running import run_async
from antiphon.rewards.sample import Failure, RewardFunction, Sample, Scored
from antiphon.tasks.columns import REWARD, REWARDED
from antiphon.tasks.task import Row, Task, lowest_reward_first
from antiphon.types import Audio, Example, Reward, Text


def sample_of(task: Task, example: Example, transcript: Transcript) -> Sample:
    """The answer that an evaluation measures, as a reward sees it."""
    answer = transcript.answer
    return Sample(
        id=example.id,
        prompt=transcript.instruction,
        response=answer.text if isinstance(answer, Text) else "",
        label=example.text,
        completion_ids=transcript.token_ids,
        language=example.language or transcript.language,
        speaker=example.speaker,
        metadata=example.columns,
        answer=task.read(answer),
        audio=answer if isinstance(answer, Audio) else None,
    )


def earned(
    reward: RewardFunction, answers: Sequence[Sequence[Sample]], noted: Callable[[str], None] = lambda message: None
) -> list[Row]:
    """The columns of each row: `reward`, the mean over its answers, `reward_best` where there are several of them, and
    `reward_failed`, how many have none.

    A failure ends nothing: `noted` is told how many there were and the first. Python's, numpy's and torch's global
    generators are left as they were, so that rewards which draw from them do so in training as without evaluation.
    """
    samples = [sample for row in answers for sample in row]
    with _generators_kept():
        scored = _score(reward, samples)
    failures = [one.message for one in scored if isinstance(one, Failure)]
    if failures:
        noted(f"the reward failed for {len(failures)} of {len(samples)} answers. The first: {failures[0]}")
    each = iter(scored)
    return [_columns([next(each) for _ in row]) for row in answers]


def rewarded(
    task: Task,
    reward: RewardFunction,
    answers: Sequence[Sequence[Sample]],
    summary: Mapping[str, Any],
    rows: Sequence[Row],
    noted: Callable[[str], None],
) -> tuple[dict[str, Any], list[Row]]:
    """Summary and rows with what the answers of each row's example earn, and the `measure` that `task` is judged by."""
    columns = earned(reward, answers, noted)
    by_id = {samples[0].id: row for samples, row in zip(answers, columns, strict=True)}
    joined = [row | by_id[row["id"]] for row in rows]
    measure = task.measured_by(reward.name)
    if measure == REWARD.key:
        joined = lowest_reward_first(joined)
    return {**summary, **reward_figures(joined), "measure": measure}, joined


def reward_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`reward`, and `reward_best` where rows have several answers, each the mean over rows with its interval; and
    `reward_failed`, how many answers count in neither."""
    figures: dict[str, Any] = {}
    for key in (one.key for one in REWARDED if one.key in rows[0]):
        scored = [row for row in rows if row[key] is not None]
        values = [row[key] for row in scored]
        ends = bootstrap_ci(values, [1] * len(values), [row["speaker"] for row in scored]) if values else None
        figures |= {key: _mean(values), f"{key}_ci": ends and list(ends)}
    return figures | {"reward_failed": sum(row["reward_failed"] for row in rows)}


def _score(reward: RewardFunction, samples: Sequence[Sample]) -> list[Scored]:
    """A reward that applies to no sample of a row, or raises, has failed for it."""
    try:
        scored = run_async(reward.score(samples))
    except RewardError as error:
        return [Failure(str(error))] * len(samples)
    return [
        Failure(f"reward {reward.name!r} returned None for sample {sample.title}") if one is None else one
        for sample, one in zip(samples, scored, strict=True)
    ]


def _columns(scored: Sequence[Scored]) -> Row:
    values = [one.value for one in scored if isinstance(one, Reward)]
    best = {"reward_best": max(values, default=None)} if len(scored) > 1 else {}
    return {"reward": _mean(values), **best, "reward_failed": len(scored) - len(values)}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) + 0.0 if values else None  # Never −0.


@contextmanager
def _generators_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
