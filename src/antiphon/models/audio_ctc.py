"""CTC over the audio states that a model reads (Graves et al. 2006, section 4): an encoder's own lesson in alignment.

A linear head scores, at each frame, the tokens that the training set's transcripts are made of, and the blank. It
belongs to training alone and is no part of the model that is saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from antiphon.errors import ConfigError
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.encoder_decoder import EncoderDecoder
from antiphon.models.feature_cache import hearing
from antiphon.models.policy import Policy
from antiphon.types import Example, Prompt


class AudioCTC:
    """Watches what a model hears while a batch is encoded, and says how well its frames spell the transcripts."""

    def __init__(self, policy: Policy, examples: Sequence[Example], seed: int) -> None:
        """`examples` are all that will be learnt from; the head is drawn from `seed`.

        Raises `ConfigError` for a model without audio states, or one of which nothing that hears is trained, and
        `ModelError` that names an example whose text the model cannot say.
        """
        if not isinstance(policy, AudioPrefixLM | EncoderDecoder):
            raise ConfigError(
                f"'algorithm.ctc_weight': {type(policy.model).__name__} has no audio states beside its answer; set it "
                "to 0, or train an audio-prefix LM or an encoder-decoder"
            )
        if not any(weight.requires_grad for module in hearing(policy.model) for weight in module.parameters()):
            raise ConfigError(
                "'algorithm.ctc_weight': the audio encoder is frozen, so CTC would teach its own head alone; set it to "
                "0, or train the encoder: take it out of 'freeze', or into 'lora.target'"
            )
        self._policy: Any = policy
        self._states: list[Tensor] = []
        said = {example.id: _transcript(policy, example) for example in examples}
        tokens = sorted({token for ids in said.values() for token in ids})
        classes = {token: place for place, token in enumerate(tokens)}
        self._targets = {name: torch.tensor([classes[token] for token in ids]) for name, ids in said.items()}
        self.head = _linear(_width(policy), len(tokens) + 1, seed).to(policy.device)
        """Its last output is the blank."""

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within the block, one `encode` is watched."""
        hear = self._policy._hear

        def watched(clips: Sequence[dict[str, Tensor]]) -> Any:
            heard = hear(clips)
            self._states = _frames(self._policy, clips, heard)
            return heard

        self._policy._hear = watched
        try:
            yield
        finally:
            del self._policy._hear

    def loss(self, prompts: Sequence[Prompt]) -> Tensor:
        """For each of the `prompts` that were encoded [P], −log p(transcript) a token, in fp32 and with its graph.

        0 for a clip with fewer frames than its transcript has tokens.
        """
        states = pad_sequence(self._states).float()
        frames = torch.tensor([len(one) for one in self._states], device=states.device)
        targets = [self._targets[prompt.id] for prompt in prompts]
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


def _transcript(policy: AudioPrefixLM | EncoderDecoder, example: Example) -> list[int]:
    """The tokens of the example's text as the model says it, without its framing and stop token."""
    prompt = Prompt(example.id, example.task, None, policy.rate)
    said = policy.target(prompt, example.text, example.language)
    framing = policy.tokenizer(policy._framed(prompt, "", example.language), add_special_tokens=False)["input_ids"]
    return said[len(framing) : -1]


def _width(policy: AudioPrefixLM | EncoderDecoder) -> int:
    """Of an audio state."""
    config = policy.model.config
    if isinstance(policy, AudioPrefixLM):
        return config.get_text_config().hidden_size
    return getattr(config, "encoder_config", config).hidden_size


def _linear(width: int, classes: int, seed: int) -> nn.Linear:
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return nn.Linear(width, classes)


def _frames(policy: AudioPrefixLM | EncoderDecoder, clips: Sequence[dict[str, Tensor]], heard: Any) -> list[Tensor]:
    """Each clip's states [S, D] out of what the policy `heard` in `clips`."""
    if isinstance(policy, AudioPrefixLM):
        return list(heard.split([int((clip["input_ids"] == policy.audio_token).sum()) for clip in clips]))
    states, mask = heard
    if mask is None:
        return list(states)
    return [row[:length] for row, length in zip(states, (mask == 0).sum(-1).flatten().tolist(), strict=True)]
