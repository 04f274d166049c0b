"""What trackers show: scalars by name, samples with their audio, the recipe as flat keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from antiphon.config import Config
from antiphon.distributed.device import memory_gb
from antiphon.tasks.summary import columns_of
from antiphon.types import Audio, Group, Hertz

if TYPE_CHECKING:
    from antiphon.run.loop import Step

GROUPS = 100
"""Most groups of an evaluation that get curves of their own."""


@dataclass(frozen=True)
class Sound:
    """Audio to listen to."""

    waveform: np.ndarray
    """Mono float32 [samples]."""
    rate: Hertz


@dataclass(frozen=True)
class Sample:
    """One row of a table of samples."""

    id: str
    """Of the example, as its data set has it."""
    reference: str
    answer: str
    reward: float | None
    audio: Sound | None


def step_scalars(step: Step) -> dict[str, float]:
    """Every metric of a step as `train/NAME`, its seconds and memory as `time/PHASE` and `memory_gb`."""
    return {
        **{f"train/{name}": float(value) for name, value in step.metrics.items() if value is not None},
        **{f"time/{phase}": seconds for phase, seconds in step.seconds.items()},
        "time/step_seconds": sum(step.seconds.values()),
        "memory_gb": memory_gb(),
    }


def eval_scalars(set_name: str, summary: Mapping[str, Any]) -> dict[str, float]:
    """Every figure of an evaluation as `eval/SET/NAME`; an interval [low, high] as `NAME_low` and `NAME_high`.

    Figures of groups are `eval/SET/groups/GROUP/NAME`, of the first `GROUPS` groups.
    """
    named = {name: value for name, value in summary.items() if name != "groups"}
    found = dict(_numbers(f"eval/{set_name}", named))
    for group, figures in islice(summary.get("groups", {}).items(), GROUPS):
        found |= _numbers(f"eval/{set_name}/groups/{group}", figures)
    return found


def _numbers(above: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, int | float):
            yield f"{above}/{name}", float(value)
        elif (name == "ci" or name.endswith("_ci")) and value is not None:
            measure = columns_of(figures)[0].key if name == "ci" else name.removesuffix("_ci")
            yield from zip((f"{above}/{measure}_low", f"{above}/{measure}_high"), map(float, value), strict=True)


def step_samples(step: Step, limit: int) -> list[Sample]:
    """The first completion of each of the first `limit` prompts, with the audio of the prompt."""
    return [
        Sample(
            id=group.example.id,
            reference=group.example.text,
            answer=group.texts[0],
            reward=group.rewards[0].value if group.rewards and group.rewards[0] else None,
            audio=_heard(group),
        )
        for group in step.groups[:limit]
    ]


def _heard(group: Group) -> Sound | None:
    """The first answer where it is audio, else the audio of the prompt."""
    answer, prompt = group.answers[0], group.prompt
    if isinstance(answer, Audio):
        return Sound(answer.waveform, answer.rate)
    return None if prompt.waveform is None else Sound(prompt.waveform, prompt.rate)


def eval_samples(rows: Sequence[Mapping[str, Any]], folder: Path, limit: int) -> list[Sample]:
    """The first `limit` rows, which are the worst, with those clips that the run folder keeps a copy of."""
    return [
        Sample(
            id=row["id"],
            reference=row["ref_text"],
            answer=row["pred_text"],
            reward=row.get("reward"),
            audio=_copy(folder, row.get("answer_audio") or row.get("audio")),
        )
        for row in rows[:limit]
    ]


def _copy(folder: Path, audio: str | None) -> Sound | None:
    if audio is None or not audio.startswith("audio/") or not (folder / audio).is_file():
        return None
    waveform, rate = soundfile.read(folder / audio, dtype="float32")
    return Sound(waveform, rate)


def flat(config: Config) -> dict[str, Any]:
    """The recipe by dotted keys: numbers, booleans and text. Lists are JSON, and URLs lose their user and password."""
    return dict(_flat("", config.model_dump(mode="json")))


def _flat(above: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _flat(f"{above}.{name}" if above else name, below)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        hidden = re.sub(r"(?<=://)[^/@\s]+@", "", text)
        yield above, value if isinstance(value, bool | int | float) else hidden
