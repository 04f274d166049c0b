"""What a model can take: the clips it hears whole, the positions that prompt and answer share, and languages.

Each family states its `limits`. Encoding, the engines, evaluation, the server and the check of a data set
(`antiphon.models.fit`) all go by them, so that what is refused is refused by name, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np

from antiphon.errors import ModelError
from antiphon.models.policy import Sampling
from antiphon.types import Hertz, Prompt, Seconds


@dataclass(frozen=True)
class Limits:
    """A family's limits for one model."""

    most_samples: int | None = None
    """Samples of the longest clip that it hears whole, at its own rate; None for no limit."""
    least_samples: int = 1
    """Samples of the shortest clip that it makes anything of."""
    positions: int | None = None
    """Positions that the tokens of a prompt and of its completion share (see `Policy.taken`); None for no limit."""
    languages: frozenset[str] | None = None
    """Codes of the languages that it can be told; empty if it can be told none, None if it takes any."""
    translates: bool = False
    """Whether it has a mode that writes English for speech in other languages."""

    def longest(self, rate: Hertz) -> Seconds | None:
        """The longest clip, in seconds."""
        return None if self.most_samples is None else self.most_samples / rate

    def clip_fault(self, samples: int, rate: Hertz) -> str | None:
        """Why a clip of so many samples cannot be heard, or None."""
        if self.most_samples is not None and samples > self.most_samples:
            return (
                f"has {samples / rate:.6g} s of audio, but this model takes at most {self.most_samples / rate:.6g} s; "
                "split or drop the clip"
            )
        if samples < self.least_samples:
            return f"has {samples / rate:.3f} s of audio, too little for this model; drop the clip"
        return None

    def require_clip(self, prompt: Prompt) -> None:
        """Raises `ModelError` for a prompt without audio, or with more or less than the model takes."""
        if prompt.waveform is None:
            raise ModelError(f"prompt {prompt.id!r} has no audio, which this model needs")
        if fault := self.clip_fault(len(prompt.waveform), prompt.rate):
            raise ModelError(f"prompt {prompt.id!r} {fault}")

    def room(self, taken: int) -> int | None:
        """Positions left for a completion after `taken` ones of its prompt; None for no limit."""
        return None if self.positions is None else self.positions - taken

    def prompt_fault(self, taken: int, seconds: Seconds = 0.0) -> str | None:
        """Why a prompt of `taken` positions, with so much audio, leaves no room for an answer, or None."""
        room = self.room(taken)
        if room is None or room >= 1:
            return None
        audio = f" ({seconds:.0f} s of audio)" if seconds else ""
        return (
            f"takes {taken} tokens{audio}, but this model has {self.positions} positions for a prompt and its answer; "
            "shorten the text, or the clip"
        )

    def require_prompt(self, prompt: Prompt, taken: int) -> None:
        """Raises `ModelError` if the prompt's `taken` positions leave none for an answer."""
        if fault := self.prompt_fault(taken, prompt.seconds):
            raise ModelError(f"prompt {prompt.id!r} {fault}")

    def within(self, sampling: Sampling, taken: int) -> Sampling:
        """`sampling` for a prompt of `taken` positions: as it is, or with fewer new tokens if it may be shortened.

        Raises `ModelError` that names the highest `max_new_tokens`, if it may not.
        """
        if fault := self.prompt_fault(taken):
            raise ModelError(f"the prompt {fault}")
        room = self.room(taken)
        if room is None or sampling.max_new_tokens <= room:
            return sampling
        if not sampling.shorten:
            raise ModelError(self.too_many(sampling.max_new_tokens, taken))
        return replace(sampling, max_new_tokens=room)

    def too_many(self, new_tokens: int, taken: int) -> str:
        """What is wrong with so many new tokens after `taken` positions."""
        return (
            f"{new_tokens} new tokens after a prompt of {taken} do not fit this model's {self.positions} positions; "
            f"set max_new_tokens to at most {self.room(taken)}"
        )


def positions_of(config: Any) -> int | None:
    """Positions of the decoder, or language model, of a transformers configuration; None where it states none."""
    if getattr(config, "is_encoder_decoder", False):
        return getattr(config, "max_target_positions", None) or getattr(config, "max_position_embeddings", None)
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def has_any(rows: Sequence[Sequence[int]], ids: np.ndarray) -> list[bool]:
    """Whether each of `rows`, of token ids, has one that is True in `ids` [V] or no id of its vocabulary."""
    flat = np.fromiter(chain.from_iterable(rows), np.int64)
    found = np.append(ids, True)[np.minimum(flat, len(ids))]
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return (np.bincount(owner[found], minlength=len(rows)) > 0).tolist()


def frames_needed(labels: Sequence[int]) -> int:
    """The frames that CTC needs at least for a label sequence: equal neighbors need a blank between them."""
    return len(labels) + sum(one == other for one, other in pairwise(labels))
