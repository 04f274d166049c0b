"""What a reward is given, what it gives back, and what a reward is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from antiphon.types import Group, Reward


@dataclass(frozen=True)
class Sample:
    """One completion as a reward sees it."""

    id: str
    """Of the dataset's row."""
    prompt: str
    """The instruction the model was given; empty for recognisers that take none."""
    response: str
    """The answer as the task reads it: for ASR the transcript alone."""
    label: str
    """The reference; may be empty (a clip without speech)."""
    index: int = 0
    """Which of the row's completions this is."""
    completion_ids: tuple[int, ...] = ()
    language: str | None = None
    speaker: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The row's further columns, as the dataset has them."""

    @property
    def title(self) -> str:
        """What messages call this sample."""
        return f"{self.id!r} (completion {self.index})"


@dataclass(frozen=True)
class Failure:
    """Why a sample that is to be dropped could not be scored. There is no number for it, not even 0 or NaN."""

    message: str


Scored = Reward | Failure | None
"""What a reward made of a sample; None where it does not apply to the sample."""


class RewardFunction(Protocol):
    """Scores all samples of a batch in one call."""

    @property
    def name(self) -> str:
        """As the user wrote it: "wer", "my_rewards.py:bonus"."""
        ...

    async def score(self, samples: Sequence[Sample]) -> list[Scored]:
        """What each sample earned, in order. Raises `RewardError` for a failure that is to stop the run."""
        ...


def group_samples(group: Group) -> list[Sample]:
    """The samples of a group, one a completion."""
    example = group.example
    return [
        Sample(
            id=example.id,
            prompt=group.prompt.instruction,
            response=answer,
            label=example.text,
            index=index,
            completion_ids=completion.token_ids,
            language=example.language or group.prompt.language,
            speaker=example.speaker,
            metadata=example.columns,
        )
        for index, (completion, answer) in enumerate(zip(group.completions, group.answers, strict=True))
    ]
