"""What can be evaluated: a model in this process here, one behind a URL in `antiphon.evaluate.remote`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from antiphon.config import Config
from antiphon.evaluate.decode import Decode
from antiphon.evaluate.kept import weights_digest
from antiphon.evaluate.recognize import IN_MEMORY, Portion, portions
from antiphon.models.policy import Policy
from antiphon.tasks.load import prompter
from antiphon.types import Example, Words

PORTION = 4
"""Batches that are decoded together, and kept together: the decoder fills a batch's empty places from the next."""


class Subject(Protocol):
    """A model as it is evaluated."""

    @property
    def name(self) -> str: ...

    @property
    def side_by_side(self) -> int:
        """Clips that are recognized at once."""
        ...

    @property
    def reads(self) -> frozenset[Words]:
        """The words of a prompt that it reads."""
        ...

    def setup(self, config: Config) -> dict[str, Any]:
        """What its transcripts depend on, `precision` and `device` among it."""
        ...

    def portions(self, examples: Sequence[Example], config: Config) -> Iterator[Portion]:
        """The transcripts of `examples`, each in one portion, in any order."""
        ...


@dataclass(frozen=True)
class LocalModel:
    """A `Subject` in this process."""

    name: str
    policy: Policy
    decode: Decode
    side_by_side: int
    beam: int | None
    max_new_tokens: int

    @property
    def reads(self) -> frozenset[Words]:
        return self.policy.reads

    def setup(self, config: Config) -> dict[str, Any]:
        return {
            "weights": weights_digest(self.policy.model),
            "precision": str(self.policy.model.dtype).removeprefix("torch."),
            "device": self.policy.device.type,
            "task": config.task,
            "language": config.language,
            "beam": self.beam,
            "max_new_tokens": self.max_new_tokens,
        }

    def portions(self, examples: Sequence[Example], config: Config) -> Iterator[Portion]:
        prompt, size = (
            prompter(config, self.policy.rate, self.policy.language, self.policy.reads),
            min(PORTION * self.side_by_side, IN_MEMORY),
        )
        return portions(self.policy, self.decode, examples, prompt, self.max_new_tokens, size)
