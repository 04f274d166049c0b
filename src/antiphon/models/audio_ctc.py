"""Auxiliary CTC loss on the audio states that a decoder reads (Graves et al. 2006, section 4).

At each frame, a linear head scores the blank and the tokens that occur in the training set's transcripts. The head is
used only in training and is not saved with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from antiphon.data.indexed import ById, said
from antiphon.errors import ConfigError
from antiphon.models.feature_cache import audio_modules
from antiphon.models.policy import Policy
from antiphon.types import Example, Prompt

AudioListener = Callable[[list[Tensor]], None]
"""Called with each clip's audio states [S, D], with their graph, when a batch is encoded."""


@runtime_checkable
class HasAudioStates(Protocol):
    """A policy whose decoder reads audio as a sequence of states, one vector per frame."""

    audio_width: int
    """Width D of an audio state."""
    audio_listener: AudioListener | None

    def transcript_ids(self, prompt: Prompt, text: str, language: str | None) -> list[int]: ...


class AudioCTC:
    """Records the audio states of a batch, and computes the CTC loss of its transcripts on them."""

    def __init__(self, policy: Policy, examples: Sequence[Example], seed: int) -> None:
        """`examples` are the whole training set; the head is initialized from `seed`.

        Raises `ConfigError` if the model has no audio states or its audio encoder is frozen, and `ModelError` that
        names an example whose text the model cannot produce.
        """
        if not isinstance(policy, HasAudioStates):
            raise ConfigError(
                f"'algorithm.ctc_weight': {type(policy.model).__name__} has no separate audio states; set it "
                "to 0, or train an audio-prefix LM or an encoder-decoder"
            )
        if not any(weight.requires_grad for module in audio_modules(policy.model) for weight in module.parameters()):
            raise ConfigError(
                "'algorithm.ctc_weight': the audio encoder is frozen, so CTC would train only its own head; set it to "
                "0, or train the encoder: take it out of 'freeze', or into 'lora.target'"
            )
        self._policy: HasAudioStates = policy
        self._rate, self._states = policy.rate, list[Tensor]()
        self._examples = ById(examples)
        tokens = sorted({token for one in said(examples) for token in self._ids(*one)})
        self._classes = {token: place for place, token in enumerate(tokens)}
        self.head = _linear(policy.audio_width, len(tokens) + 1, seed).to(policy.device)
        """The last output is the blank."""

    def _ids(self, id: str, text: str, language: str | None) -> list[int]:
        return self._policy.transcript_ids(Prompt(id, None, self._rate), text, language)

    def _target(self, example: Example) -> Tensor:
        """The classes of a transcript's tokens."""
        return torch.tensor([self._classes[token] for token in self._ids(example.id, example.text, example.language)])

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the audio states of one `encode` within the block."""
        self._policy.audio_listener = self._record
        try:
            yield
        finally:
            self._policy.audio_listener = None

    def _record(self, states: list[Tensor]) -> None:
        self._states = states

    def loss(self, prompts: Sequence[Prompt]) -> Tensor:
        """[P] fp32, with its graph: −log p(transcript) per token, in nats, of each of the encoded `prompts`.

        0 for a clip with fewer frames than its transcript has tokens.
        """
        states = pad_sequence(self._states).float()
        frames = torch.tensor([len(one) for one in self._states], device=states.device)
        targets = [self._target(self._examples[prompt.id]) for prompt in prompts]
        lengths = torch.tensor([len(one) for one in targets], device=states.device)
        losses = F.ctc_loss(
            self.head(states).log_softmax(-1),
            pad_sequence(targets, batch_first=True).to(states.device),
            frames,
            lengths,
            blank=self.head.out_features - 1,
            reduction="none",
            zero_infinity=True,
        )
        return losses / lengths.clamp(min=1)


def _linear(width: int, classes: int, seed: int) -> nn.Linear:
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return nn.Linear(width, classes)
