"""What a step leaves in the run folder: its metrics, its timings, its completions, the clips that were heard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from antiphon.loop import Step
from antiphon.runs.folder import RunFolder
from antiphon.runs.rollouts import RolloutRow
from antiphon.types import Group


def step_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Figures of one rollout: rewards and their parts, lengths, how completions ended, the sampler's entropy."""
    completions = [completion for group in groups for completion in group.completions]
    rewards = np.array([[reward.value for reward in group.rewards] for group in groups])
    parts: dict[str, list[float]] = defaultdict(list)
    for group in groups:
        for reward in group.rewards:
            for name, value in reward.parts.items():
                parts[name].append(value)
    tokens = sum(len(completion.token_ids) for completion in completions)
    return {
        "reward_mean": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        "reward_best_mean": float(rewards.max(-1).mean()),
        "reward_group_std": float(rewards.std(-1).mean()),
        **{f"reward/{name}": float(np.mean(values)) for name, values in sorted(parts.items())},
        "tokens_mean": tokens / len(completions),
        "truncated_share": sum(c.finish_reason == "length" for c in completions) / len(completions),
        "empty_share": sum(not a.strip() for g in groups for a in g.answers) / len(completions),
        "surprisal": -sum(sum(c.logprobs) for c in completions) / sum(len(c.logprobs) for c in completions),
        "audio_seconds": sum(group.prompt.seconds for group in groups),
    }


def record_step(run: RunFolder, step: Step) -> None:
    """Append the step to the run folder."""
    run.log_metrics(step.number, {**step_metrics(step.groups), **step.metrics})
    run.log_timings(step.number, {**step.seconds, "step_seconds": sum(step.seconds.values())})
    if step.number % run.config.train.log_rollouts_every == 0:
        run.write_rollouts(step.number, _rows(run, step.number, step.groups, step.advantages))


def _rows(run: RunFolder, number: int, groups: Sequence[Group], advantages: Tensor) -> list[RolloutRow]:
    rows = []
    for group, row_advantages in zip(groups, advantages.tolist(), strict=True):
        clip, waveform = group.example.clip, group.prompt.waveform
        source = clip.name if clip else None
        copy = None
        if clip is not None and waveform is not None:
            copy = run.save_clip(clip.name, waveform, group.prompt.rate)
        for sample, (completion, answer, reward) in enumerate(
            zip(group.completions, group.answers, group.rewards, strict=True)
        ):
            rows.append(
                RolloutRow(
                    step=number,
                    example_id=group.example.id,
                    sample=sample,
                    prompt=group.prompt.context if waveform is not None else group.prompt.instruction,
                    reference=group.example.text,
                    text=answer,
                    token_ids=completion.token_ids,
                    logprobs=completion.logprobs,
                    reward=reward.value,
                    advantages=[row_advantages[sample]] * len(completion.logprobs),
                    finish_reason=completion.finish_reason,
                    audio=copy or source,
                    reward_parts=reward.parts,
                    columns=group.example.columns,
                )
            )
    return rows
