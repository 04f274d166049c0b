"""What a reward is given, what it gives back, and what a reward is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from antiphon.errors import RewardError
from antiphon.types import Audio, Content, Group, Reward, Text


@dataclass(frozen=True)
class Sample:
    """One completion as a reward sees it."""

    id: str
    """Of the dataset's row."""
    prompt: str
    """The instruction the model was given; empty for recognizers that take none."""
    response: str
    """The whole answer without the model's own framing; empty where the answer is audio."""
    label: str
    """The reference; may be empty (a clip without speech)."""
    index: int = 0
    """Which of the row's completions this is."""
    completion_ids: tuple[int, ...] = ()
    language: str | None = None
    speaker: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The row's further columns, as the dataset has them."""
    answer: Content | None = None
    """What the task reads of the response, which evaluation measures too: the transcript, or what stands in
    `<answer>`; the audio where the answer is audio. By default the response."""
    audio: Audio | None = None
    """The answer where it is audio."""

    def __post_init__(self) -> None:
        if self.answer is None:
            object.__setattr__(self, "answer", self.response if self.audio is None else self.audio)

    @property
    def words(self) -> str:
        """The `answer` as text. Raises `RewardError` where it is audio."""
        if not isinstance(self.answer, str):
            raise RewardError(
                f"the answer of sample {self.title} is audio, which this reward cannot score; use another"
            )
        return self.answer

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
            response=answer.text if isinstance(answer, Text) else "",
            label=example.text,
            index=index,
            completion_ids=completion.token_ids,
            language=example.language or group.prompt.language,
            speaker=example.speaker,
            metadata=example.columns,
            answer=content,
            audio=answer if isinstance(answer, Audio) else None,
        )
        for index, (completion, answer, content) in enumerate(
            zip(group.completions, group.answers, group.contents, strict=True)
        )
    ]
