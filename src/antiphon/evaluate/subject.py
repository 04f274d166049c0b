"""What can be evaluated: a model in this process here, one behind a URL in `antiphon.evaluate.remote`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from antiphon.config import Config
from antiphon.data.rows import BadRow
from antiphon.data.scans import OnProgress
from antiphon.evaluate.decode import Decode
from antiphon.evaluate.kept import weights_digest
from antiphon.evaluate.pieces import piece_of
from antiphon.evaluate.recognize import IN_MEMORY, Portion, portions
from antiphon.models.fit import Fit
from antiphon.models.fitting import fitting
from antiphon.models.policy import Policy
from antiphon.tasks.load import Prompter, find_task, prompter
from antiphon.types import Example, Seconds, Words

LONGEST = 256
"""Tokens of an answer, where the user names no limit."""
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

    def fitting(
        self,
        examples: Sequence[Example],
        source: str,
        config: Config,
        on_progress: OnProgress,
        seconds: pa.ChunkedArray | None = None,
    ) -> tuple[Sequence[Example], list[BadRow]]:
        """The examples of the set `source` that the model can take, and the rows that it cannot (see
        `antiphon.models.fitting.fitting`)."""
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
    max_new_tokens: int | None = None
    """As the user named it; by default `LONGEST`, or what a prompt leaves room for."""

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
            "max_new_tokens": self.max_new_tokens or LONGEST,
            **({} if (piece := self._piece(config)) is None else {"piece_seconds": piece}),
        }

    def fitting(
        self,
        examples: Sequence[Example],
        source: str,
        config: Config,
        on_progress: OnProgress,
        seconds: pa.ChunkedArray | None = None,
    ) -> tuple[Sequence[Example], list[BadRow]]:
        fit = Fit(self.policy, self._prompter(config), self.max_new_tokens, piece=self._piece(config))
        return fitting(fit, examples, source, config.data.on_bad_audio, config.data.long_audio, on_progress, seconds)

    def portions(self, examples: Sequence[Example], config: Config) -> Iterator[Portion]:
        return portions(
            self.policy,
            self.decode,
            examples,
            self._prompter(config),
            self.max_new_tokens or LONGEST,
            min(PORTION * self.side_by_side, IN_MEMORY),
            self._piece(config),
        )

    def _prompter(self, config: Config) -> Prompter:
        return prompter(config, self.policy.rate, self.policy.language, self.policy.reads)

    def _piece(self, config: Config) -> Seconds | None:
        return piece_of(self.policy, find_task(config.task), config)
