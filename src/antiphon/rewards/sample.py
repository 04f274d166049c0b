"""The input and output types of rewards, and their protocol."""

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
    """Id of the dataset's row."""
    prompt: str
    """The instruction to the model; empty for recognizers that take none."""
    response: str
    """The whole answer without the model's own framing; empty if the answer is audio."""
    label: str
    """The reference; may be empty (a clip without speech)."""
    index: int = 0
    """Index among the row's completions."""
    completion_ids: tuple[int, ...] = ()
    language: str | None = None
    speaker: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The row's further columns, unchanged."""
    answer: Content | None = None
    """What the task reads from the response, as in evaluation: the transcript, the text in `<answer>`, or the audio.
    By default the response."""
    audio: Audio | None = None
    """The answer, if it is audio."""

    def __post_init__(self) -> None:
        if self.answer is None:
            object.__setattr__(self, "answer", self.response if self.audio is None else self.audio)

    @property
    def chat(self) -> list[dict[str, Any]]:
        """The row's messages, where its prompt was a chat; else empty. They are in its field `messages` or `prompt`."""
        for name in ("messages", "prompt"):
            turns = self.metadata.get(name)
            if isinstance(turns, list) and turns and all(isinstance(one, Mapping) and "role" in one for one in turns):
                return [dict(one) for one in turns]
        return []

    @property
    def words(self) -> str:
        """The `answer` as text. Raises `RewardError` if it is audio."""
        if not isinstance(self.answer, str):
            raise RewardError(
                f"the answer of sample {self.title} is audio, which this reward cannot score; use another reward"
            )
        return self.answer

    @property
    def title(self) -> str:
        """The sample's name in messages."""
        return f"{self.id!r} (completion {self.index})"


@dataclass(frozen=True)
class Failure:
    """Why a sample could not be scored and is dropped. It has no reward value, not even 0 or NaN."""

    message: str


Scored = Reward | Failure | None
"""A reward's result for a sample; None if the reward does not apply to it."""


class RewardFunction(Protocol):
    """Scores all samples of a batch in one call."""

    @property
    def name(self) -> str:
        """The name in the recipe: "wer", "my_rewards.py:bonus"."""
        ...

    @property
    def highest(self) -> float | None:
        """The highest value it can give; None where that is not known."""
        ...

    async def score(self, samples: Sequence[Sample]) -> list[Scored]:
        """The result for each sample, in order. Raises `RewardError` for a failure that is set to stop the run."""
        ...


def group_samples(group: Group) -> list[Sample]:
    """The samples of a group, one per completion."""
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
