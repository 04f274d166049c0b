"""Writes what a run does into its folder: metrics, timings, completions, evaluations, the gate's reports, its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from antiphon.distributed.device import memory_gb
from antiphon.models.pieces import Pieces
from antiphon.rollout.gate import GateReport
from antiphon.run.loop import Step
from antiphon.run.observers.observer import Observer
from antiphon.runs.folder import RunFolder
from antiphon.runs.rollouts import RolloutRow
from antiphon.runs.status import State
from antiphon.tasks.summary import interval, main_column
from antiphon.types import Audio, Clip, Prompt


class FolderWriter(Observer):
    """The run folder's only writer during a run, checkpoints apart."""

    def __init__(self, pieces: Pieces | None) -> None:
        """`pieces` tells what tokens write; None where an action is no token."""
        self._pieces = pieces

    def started(self, run: RunFolder, done: int) -> None:
        self.run = run
        run.update("running", done)

    def stepped(self, step: Step) -> None:
        run, seconds = self.run, step.seconds
        run.log_metrics(step.number, step.metrics)
        run.log_timings(step.number, {**seconds, "step_seconds": sum(seconds.values()), "memory_gb": memory_gb()})
        if step.number % run.config.train.log_rollouts_every == 0:
            run.write_rollouts(step.number, _rows(run, step, self._pieces))
        run.update("running", step.number)

    def evaluated(
        self, step: int, set_name: str, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        self.run.save_eval(set_name, step, summary, rows)
        column = main_column(summary)
        ends = interval(summary, column)
        self.run.log(f"step {step}: {set_name}: {column.key} {summary[column.key]}, interval {ends}")

    def gated(self, step: int, report: GateReport) -> None:
        self.run.log_gate(step, report.to_dict())

    def noted(self, message: str) -> None:
        self.run.log(message)

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        if state == "failed":
            self.run.update(state, error=reason)
            self.run.log(f"failed: {reason}")
        elif state == "interrupted":
            self.run.update(state)
        else:
            self.run.update(state, step, reason=reason)
            self.run.log(f"stopped after {step} steps: {reason}" if reason else f"finished {step} steps")


def _rows(run: RunFolder, step: Step, pieces: Pieces | None) -> list[RolloutRow]:
    rows = []
    by_completion = iter(step.advantages.tolist())
    for group in step.groups:
        clip, heard = group.example.clip, group.prompt.seconds > 0
        source = clip.name if clip else None
        copy = run.save_clip(clip.name, _loader(group.prompt, clip), group.prompt.rate) if clip and heard else None
        rewards = group.rewards or [None] * len(group.completions)
        for sample, (completion, answer, text, reward) in enumerate(
            zip(group.completions, group.answers, group.texts, rewards, strict=True)
        ):
            name = f"{group.example.id}-{sample}"
            rows.append(
                RolloutRow(
                    step=step.number,
                    example_id=group.example.id,
                    sample=sample,
                    prompt=group.prompt.context if heard else group.prompt.instruction,
                    reference=group.example.text,
                    text=text,
                    token_ids=completion.token_ids,
                    width=completion.width,
                    tokens=pieces(completion.token_ids) if pieces else (),
                    logprobs=completion.logprobs,
                    reward=None if reward is None else reward.value,
                    advantages=next(by_completion)[: len(completion.logprobs)],
                    finish_reason=completion.finish_reason,
                    audio=copy or source,
                    answer_audio=run.save_answer(step.number, name, answer) if isinstance(answer, Audio) else None,
                    reward_parts={} if reward is None else reward.parts,
                    columns=group.example.columns,
                )
            )
    return rows


def _loader(prompt: Prompt, clip: Clip) -> Callable[[], np.ndarray]:
    """Gives the waveform, which is read anew where another rank heard it."""
    return lambda: clip.load(prompt.rate) if prompt.waveform is None else prompt.waveform
