"""What a step leaves in the run folder: its metrics, its timings, its completions, the clips that were heard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from antiphon.distributed.device import memory_gb
from antiphon.models.pieces import Pieces
from antiphon.run.loop import Step
from antiphon.runs.folder import RunFolder
from antiphon.runs.rollouts import RolloutRow
from antiphon.types import Example, Group, Hertz


def step_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Figures of one rollout: rewards and their parts, lengths, how completions ended, the sampler's surprisal."""
    completions = [completion for group in groups for completion in group.completions]
    tokens = sum(len(completion.token_ids) for completion in completions)
    return {
        **_reward_metrics(groups),
        "samples": len(completions),
        "tokens_mean": tokens / len(completions),
        "truncated_share": sum(c.finish_reason == "length" for c in completions) / len(completions),
        "empty_share": sum(not a.strip() for g in groups for a in g.answers) / len(completions),
        "surprisal": -sum(sum(c.logprobs) for c in completions) / sum(len(c.logprobs) for c in completions),
        "audio_seconds": sum(group.prompt.seconds for group in groups),
    }


def _reward_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """None where nothing was rewarded. A completion whose reward was dropped counts in `reward_dropped` alone."""
    rewarded = [[reward for reward in group.rewards if reward is not None] for group in groups]
    values = [np.array([reward.value for reward in rewards]) for rewards in rewarded if rewards]
    if not values:
        return {}
    parts: dict[str, list[float]] = defaultdict(list)
    for rewards in rewarded:
        for reward in rewards:
            for name, value in reward.parts.items():
                parts[name].append(value)
    together = np.concatenate(values)
    return {
        "reward_mean": float(together.mean()),
        "reward_std": float(together.std()),
        "reward_best_mean": float(np.mean([one.max() for one in values])),
        "reward_group_std": float(np.mean([one.std() for one in values])),
        "reward_dropped": float(sum(reward is None for group in groups for reward in group.rewards)),
        **{f"reward/{name}": float(np.mean(of_part)) for name, of_part in sorted(parts.items())},
    }


def record_step(run: RunFolder, step: Step, pieces: Pieces | None) -> None:
    """Append the step to the run folder. `pieces` tells what tokens write; None where an action is no token."""
    run.log_metrics(step.number, {**step_metrics(step.groups), **step.metrics})
    run.log_timings(step.number, {**step.seconds, "step_seconds": sum(step.seconds.values()), "memory_gb": memory_gb()})
    if step.number % run.config.train.log_rollouts_every == 0:
        run.write_rollouts(step.number, _rows(run, step, pieces))


def record_eval(
    run: RunFolder,
    step: int,
    set_name: str,
    summary: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    examples: Sequence[Example],
    rate: Hertz,
) -> None:
    """Save an evaluation, each row with its clip: a copy, of the worst first, as long as the run keeps copies."""
    clips = {example.id: example.clip for example in examples}
    table = []
    for row in rows:
        clip = clips[row["id"]]
        table.append({**row, "audio": clip and (run.save_eval_clip(clip, rate) or clip.name)})
    run.save_eval(set_name, step, summary, table)


def _rows(run: RunFolder, step: Step, pieces: Pieces | None) -> list[RolloutRow]:
    rows = []
    by_completion = iter(step.advantages.tolist())
    for group in step.groups:
        clip, waveform = group.example.clip, group.prompt.waveform
        source = clip.name if clip else None
        copy = None
        if clip is not None and waveform is not None:
            copy = run.save_clip(clip.name, waveform, group.prompt.rate)
        for sample, (completion, answer, reward) in enumerate(
            zip(group.completions, group.answers, group.rewards or [None] * len(group.completions), strict=True)
        ):
            rows.append(
                RolloutRow(
                    step=step.number,
                    example_id=group.example.id,
                    sample=sample,
                    prompt=group.prompt.context if waveform is not None else group.prompt.instruction,
                    reference=group.example.text,
                    text=answer,
                    token_ids=completion.token_ids,
                    tokens=pieces(completion.token_ids) if pieces else (),
                    logprobs=completion.logprobs,
                    reward=None if reward is None else reward.value,
                    advantages=next(by_completion)[: len(completion.logprobs)],
                    finish_reason=completion.finish_reason,
                    audio=copy or source,
                    reward_parts={} if reward is None else reward.parts,
                    columns=group.example.columns,
                )
            )
    return rows
