"""Which examples a model cannot take, known before anything is computed: by their lengths, requests and references.

Nothing is decoded here, and no feature extracted of a clip: a clip is as long as its header says, and what a prompt
takes is known from silence of a few lengths. Only an example that comes near a limit is measured by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from antiphon.errors import AntiphonError
from antiphon.models.ctc import CTC, too_few_frames
from antiphon.models.limits import frames_needed
from antiphon.models.policy import Policy
from antiphon.tasks.load import Prompter
from antiphon.types import Example, Prompt, Seconds


class Fit:
    """Says of one example after another why the model cannot take it, or None."""

    def __init__(
        self,
        policy: Policy,
        prompt: Prompter,
        max_new_tokens: int | None = None,
        with_reference: bool = False,
        piece: Seconds | None = None,
    ) -> None:
        """`max_new_tokens` is what each answer must have room for, if the user named it; `with_reference`, whether the
        example's text is to be the model's own answer, as in SFT; `piece`, how much of a long clip is heard at once."""
        self.piece = piece
        self.policy, self.limits = policy, policy.limits
        self.prompt, self.new_tokens, self.with_reference = prompt, max_new_tokens, with_reference
        self._known: dict[tuple[Any, ...], tuple[int, int]] = {}
        """By what a request is like and the length of its clip: positions that one such took, and its letters."""
        self._frames: dict[int, int] = {}
        self.most_room = 0
        """Positions that the shortest prompt so far leaves, at least."""

    def __call__(self, example: Example, seconds: Seconds | None = None) -> str | None:
        """`seconds` is the length of the example's clip, None where it is not known before the clip is made."""
        if self.piece is not None and seconds is not None:
            seconds = min(seconds, self.piece)
        try:
            prompt, fault = self.asked(example, seconds)
            return fault or self._text_fault(example, prompt, seconds)
        except AntiphonError as error:
            return str(error).removeprefix(f"prompt {example.id!r}").removeprefix(":").strip()

    def asked(self, example: Example, seconds: Seconds | None) -> tuple[Prompt, str | None]:
        """The example's prompt, with silence for what is heard of its clip, and why the model cannot take that.

        Raises the errors of the task and of the model.
        """
        prompt = self.prompt.silent(example, 1.0 if seconds is None else seconds)
        if example.clip is not None and (fault := self._clip_fault(prompt, seconds)):
            return prompt, f"{example.clip.name} {fault}"
        return prompt, self._room_fault(prompt)

    def too_long(self, seconds: Seconds | None) -> bool:
        """Whether a clip is longer than the model hears."""
        most = self.limits.most_samples
        return not (self.piece or most is None or seconds is None) and round(seconds * self.policy.rate) > most

    def _clip_fault(self, prompt: Prompt, seconds: Seconds | None) -> str | None:
        if prompt.waveform is None or seconds is None:
            return None
        return self.limits.clip_fault(len(prompt.waveform), prompt.rate)

    def _room_fault(self, prompt: Prompt) -> str | None:
        positions, wanted = self.limits.positions, self.new_tokens or 1
        taken = self.taken_at_most(prompt)  # Refuses what cannot be asked, without positions too.
        if positions is None:
            return None
        if taken + wanted > positions:
            taken = self.policy.taken(prompt)
        self.most_room = max(self.most_room, positions - taken)
        if fault := self.limits.prompt_fault(taken, prompt.seconds):
            return fault
        return self.limits.too_many(wanted, taken) if taken + wanted > positions else None

    def taken_at_most(self, prompt: Prompt) -> int:
        """Positions that the prompt takes at most: a byte of text takes one at most, and a longer clip no fewer."""
        samples = 0 if prompt.waveform is None else _power_above(len(prompt.waveform), self.limits.most_samples)
        kind = (samples, prompt.language, prompt.transcribe, bool(prompt.instruction), bool(prompt.context))
        size = len((prompt.instruction + prompt.context).encode())
        if kind not in self._known:
            longer = replace(prompt, waveform=np.zeros(samples, np.float32)) if samples else prompt
            try:
                self._known[kind] = self.policy.taken(longer), size
            except AntiphonError:  # Perhaps because of this clip, or this text, alone.
                return self.policy.taken(prompt)
        taken, known = self._known[kind]
        return taken + max(size - known, 0)

    def _text_fault(self, example: Example, prompt: Prompt, seconds: Seconds | None) -> str | None:
        if not self.with_reference:
            return None
        ids = self.policy.target(replace(prompt, waveform=None), example.text, example.language)
        if isinstance(self.policy, CTC):
            return None if seconds is None else self._frames_fault(self.policy, example, prompt, frames_needed(ids))
        if self.limits.positions is None or self.taken_at_most(prompt) + len(ids) <= self.limits.positions:
            return None
        taken = self.policy.taken(prompt)
        if taken + len(ids) <= self.limits.positions:
            return None
        return (
            f"the text {example.text[:60]!r} takes {len(ids)} tokens after a prompt of {taken}, but this model has "
            f"{self.limits.positions} positions; split the clip and its text, or drop it"
        )

    def _frames_fault(self, policy: CTC, example: Example, prompt: Prompt, needed: int) -> str | None:
        assert prompt.waveform is not None
        below = 1 << (len(prompt.waveform).bit_length() - 1)
        if needed <= self.frames_of(policy, prompt, below):
            return None
        frames = self.frames_of(policy, prompt, len(prompt.waveform))
        return too_few_frames(example.text, needed, frames, prompt.seconds) if needed > frames else None

    def frames_of(self, policy: CTC, prompt: Prompt, samples: int) -> int:
        """Frames that the model makes of a clip of so many samples at its rate."""
        if samples not in self._frames:
            too_short = samples < self.limits.least_samples
            silence = replace(prompt, waveform=np.zeros(samples, np.float32))
            self._frames[samples] = 0 if too_short else policy.size(silence)
        return self._frames[samples]


def _power_above(samples: int, most: int | None) -> int:
    above = 1 << max(samples - 1, 1).bit_length()
    return above if most is None else max(min(above, most), samples)


def seconds_of(example: Example) -> Seconds | None:
    """The length of an example's clip by its header; None for a clip that is still to be made, or no clip."""
    measure: Callable[[], Seconds] | None = getattr(example.clip, "seconds", None)
    return None if measure is None else measure()
