"""The values that flow through the loop. This module imports nothing of ours.

    data ──Example──▶ task.prompt ──Prompt──▶ engine.rollout ──Completion──▶ policy.render ──Answer──▶ task.read
        ──Group──▶ rewards ──▶ algorithm

Dimension legend used across the package: P prompts (distinct), G completions per prompt, N = P·G completions,
L prompt tokens, T completion tokens (positions), K ids of a position (1 for text), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:  # The command line answers at once, without numpy.
    import numpy as np

Seconds = float
Hertz = int
Device = Literal["auto", "cpu", "cuda"]
DType = Literal["auto", "float32", "bfloat16", "float16"]
LongAudio = Literal["error", "skip", "split"]
"""What becomes of a clip longer than a model hears."""
FinishReason = Literal["stop", "length"]
Words = Literal["instruction", "context"]
"""What a prompt says beside its clip."""


@runtime_checkable
class Clip(Protocol):
    """Audio that can be read when it is needed: a file segment, or speech synthesized from a recipe."""

    @property
    def name(self) -> str:
        """What messages and rollout files call this clip: a path, or the name of a synthetic utterance."""
        ...

    def load(self, rate: Hertz) -> np.ndarray:
        """Mono float32 waveform [samples] at `rate`. Raises `AudioError` when the clip cannot be used."""
        ...


@dataclass(frozen=True)
class Example:
    """One row of a dataset."""

    id: str
    """Unique in its dataset: the user's own, else a hash of relative path and segment."""
    task: str
    clip: Clip | None
    text: str
    """The reference: transcript, label or answer. May be empty (a clip without speech)."""
    language: str | None = None
    speaker: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the row, kept as they were; rewards and rollout files see them."""
    line: int | str | None = field(default=None, compare=False, repr=False)
    """Where it stands in its set, for messages."""


@dataclass(frozen=True)
class Prompt:
    """What the model is asked, before any model-specific formatting."""

    id: str
    waveform: np.ndarray | None
    """Mono float32 [samples] at `rate`."""
    rate: Hertz
    instruction: str = ""
    """The request in words; recognizers that take no instruction leave it out."""
    context: str = ""
    """System prompt: hot words, domain, style."""
    language: str | None = None
    """Language to force; None lets the model find it."""
    transcribe: bool = False
    """Whether it asks for a transcript, for which some models have a mode or a request of their own."""
    translate: bool = False
    """Whether the transcript is to be in English whatever is spoken, for models that can (`Limits.translates`)."""
    absent_samples: int = 0
    """The length of a waveform that stayed behind, with the rank that heard it."""
    clean: np.ndarray | None = None
    """The waveform as it was recorded, where the policy hears it augmented and others do not."""

    @property
    def seconds(self) -> Seconds:
        samples = self.absent_samples if self.waveform is None else len(self.waveform)
        return samples / self.rate if samples else 0.0

    def without_waveform(self) -> Prompt:
        """The same, light enough to be sent to another process."""
        samples = self.absent_samples if self.waveform is None else len(self.waveform)
        return replace(self, waveform=None, absent_samples=samples, clean=None)

    def unaugmented(self) -> Prompt:
        """The same with the waveform as it was recorded: what teachers and the reference model hear."""
        return self if self.clean is None else replace(self, waveform=self.clean, clean=None)


@dataclass(frozen=True)
class Completion:
    """One answer, exactly as sampled: nothing is decoded and tokenized again on the way to the loss."""

    token_ids: tuple[int, ...]
    """[T], stop token included when `finish_reason` is "stop"; [T·K], position by position, where `width` K > 1."""
    logprobs: tuple[float, ...]
    """[T], fp32, of the distribution sampled from: log-softmax(logits / temperature), blocked tokens masked.

    One number for all ids of a position together, and one alone where the whole sequence is one action: a CTC
    labeling, a class label.
    """
    text: str
    """Decoded without special tokens, before the task parses it."""
    finish_reason: FinishReason
    version: int = 0
    """Steps of the loop that the weights had learned from when this was sampled."""
    width: int = 1
    """K, the ids that make one position: 1 for text, the codebooks of a frame for audio."""

    @property
    def length(self) -> int:
        """T, in positions: tokens, or frames."""
        return len(self.token_ids) // self.width


@dataclass(frozen=True)
class Text:
    """An answer in words."""

    text: str
    """Without the model's own framing."""
    language: str | None = None
    """As the model named it, where it names one."""
    reasoning: str = ""
    """What a reasoning model thought before it answered."""

    @property
    def empty(self) -> bool:
        return not self.text.strip()


@dataclass(frozen=True)
class Audio:
    """An answer to be heard."""

    waveform: np.ndarray
    """Mono float32 [samples]."""
    rate: Hertz

    @property
    def empty(self) -> bool:
        return len(self.waveform) == 0

    @property
    def seconds(self) -> Seconds:
        return len(self.waveform) / self.rate


Answer = Text | Audio
"""What a completion says, as the policy that sampled it renders it."""
Content = str | Audio
"""What a task reads of an answer, which is what is measured: the transcript, the label, the sound."""


@dataclass(frozen=True)
class Reward:
    """What one completion earned."""

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Group:
    """G completions of one prompt. Rewards are filled in by the reward stage, index for index."""

    example: Example
    prompt: Prompt
    completions: list[Completion]
    answers: list[Answer] = field(default_factory=list)
    """Each completion as the policy renders it."""
    contents: list[Content] = field(default_factory=list)
    """What the task reads of each answer (for ASR the transcript alone)."""
    rewards: list[Reward | None] = field(default_factory=list)
    """None for a completion whose reward failed and was dropped: it counts nowhere."""
    greedy_reward: Reward | None = None
    """Of the greedy answer, where the algorithm compares with it."""
    place: int = 0
    """Where it stands among the groups of the step, those of all ranks together."""

    @property
    def texts(self) -> list[str]:
        """The words of each answer; none of one that is audio."""
        return [answer.text if isinstance(answer, Text) else "" for answer in self.answers]
