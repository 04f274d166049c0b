"""Models that map a whole clip to logits in one pass: shared by CTC recognizers and classifiers.

Features are extracted clip by clip, and a clip's outputs do not depend on its neighbors: clips of unequal length share
a batch only if the model masks every layer that mixes frames; otherwise a batch has clips of one length.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from antiphon.errors import ModelError
from antiphon.models.internals import frames_after_convolutions
from antiphon.models.limits import Limits
from antiphon.models.policy import Chat
from antiphon.models.prompt_cache import PromptCache
from antiphon.types import Completion, Prompt, Seconds, Text, Words

SHORTEST: Seconds = 0.025
"""The analysis window of every supported feature extractor."""
_MASK = "attention_mask"


@dataclass(frozen=True)
class ClipInput:
    """How a model takes clips as input."""

    name: str
    """The feature extractor's output and the model's argument, with time first where lengths differ."""
    masks: Callable[[Any], bool] = lambda config: False
    """Model configuration -> whether padding under a mask leaves a clip's outputs unchanged."""
    limit: Callable[[Any], int] | None = None
    """Feature extractor -> the samples that fit its fixed window; it silently cuts longer clips."""
    frames: Callable[[Any, Tensor], Tensor] = frames_after_convolutions
    """(model, lengths of its input) -> frames that its encoder makes of each."""


def _waveform_masks(config: Any) -> bool:
    # A group norm averages over the padding. An adapter's convolutions, and a batch norm before the positional
    # convolution, see padding that is not zero.
    adapter, batch_norm = (getattr(config, name, False) for name in ("add_adapter", "conv_pos_batch_norm"))
    return config.feat_extract_norm == "layer" and not adapter and not batch_norm


WAVEFORM = ClipInput("input_values", _waveform_masks)
"""wav2vec2 and HuBERT."""
FBANK = ClipInput("input_features", lambda config: not config.add_adapter)
"""wav2vec2-BERT."""


class ClipModel:
    """The part of a `Policy` whose prompts are only clips. The model stays in eval mode."""

    token_level = False
    stepwise = False
    chat: Chat = None
    reads: frozenset[Words] = frozenset()
    transcribes = True

    def __init__(self, model: Any, processor: Any, clip_input: ClipInput) -> None:
        """`processor` is a feature extractor, or contains one."""
        self.model: Any = model.eval()
        self.processor = processor
        self.feature_extractor = getattr(processor, "feature_extractor", processor)
        self.clip_input = clip_input
        self.version = 0
        self.stop_ids: frozenset[int] = frozenset()
        parameter = next(model.parameters())
        self.device, self._dtype = parameter.device, parameter.dtype
        self._prepared: PromptCache[dict[str, Tensor]] = PromptCache()

    @property
    def rate(self) -> int:
        return self.feature_extractor.sampling_rate

    @property
    def limits(self) -> Limits:
        window = self.clip_input.limit(self.feature_extractor) if self.clip_input.limit else None
        return Limits(window, math.ceil(SHORTEST * self.rate), languages=frozenset())

    def taken(self, prompt: Prompt) -> int:
        """0: an answer takes no position after the clip."""
        self.size(prompt)
        return 0

    def prepare(self, prompt: Prompt) -> dict[str, Tensor]:
        """One clip's features, with their mask if the extractor makes one, on the CPU, without padding.

        Raises `ModelError` for a prompt without audio or with a context, and for a clip too short or too long for
        the model.
        """
        prepared = self._prepared.get(prompt)
        if prepared is not None:
            return prepared
        if prompt.context:
            raise ModelError(f"prompt {prompt.id!r} has a context, for which this model has no place; leave it out")
        self.limits.require_clip(prompt)
        inputs = self.feature_extractor([prompt.waveform], sampling_rate=prompt.rate)
        names = [name for name in (self.clip_input.name, _MASK) if name in inputs]
        features = {name: torch.as_tensor(np.asarray(inputs[name][0])) for name in names}
        if not features[self.clip_input.name].isfinite().all() or self._frames(features) < 1:
            raise ModelError(
                f"prompt {prompt.id!r} has {prompt.seconds:.3f} s of audio, too little for this model; drop it"
            )
        return self._prepared.put(prompt, features)

    def size(self, prompt: Prompt) -> int:
        return self._frames(self.prepare(prompt))

    def _frames(self, clip: dict[str, Tensor]) -> int:
        """Number of encoder frames of one clip."""
        return int(self.clip_input.frames(self.model, torch.tensor(self._length(clip))))

    def _length(self, clip: dict[str, Tensor]) -> int:
        """Length of one clip in the unit of the model's mask: samples, or feature frames."""
        return int(clip[_MASK].sum()) if _MASK in clip else len(clip[self.clip_input.name])

    def _passes(self, prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Forward passes over all prompts, each once: the prompts' indices, their logits, and their input lengths.

        Lengths [batch] are in the unit of the model's mask: samples, or feature frames.
        """
        clips = [self.prepare(prompt) for prompt in prompts]
        lengths = [self._length(clip) for clip in clips]
        for rows in self._batches(clips):
            logits = self._logits([clips[i] for i in rows])
            yield rows, logits, torch.tensor([lengths[i] for i in rows])

    def _batches(self, clips: Sequence[dict[str, Tensor]]) -> Iterable[list[int]]:
        """Indices of the clips that share a pass."""
        together = self.clip_input.masks(self.model.config) and all(_MASK in clip for clip in clips)
        batches: dict[int, list[int]] = defaultdict(list)
        for i, clip in enumerate(clips):
            batches[0 if together else len(clip[self.clip_input.name])].append(i)
        return batches.values()

    def _logits(self, clips: Sequence[dict[str, Tensor]]) -> Tensor:
        """The model's logits [batch, ...] for clips that share a pass."""
        return self.model(**self._padded(clips)).logits

    def _padded(self, clips: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        inputs = {}
        for name in clips[0]:
            padded = pad_sequence([clip[name] for clip in clips], batch_first=True)
            inputs[name] = padded.to(self.device, self._dtype if padded.is_floating_point() else None)
        return inputs

    @property
    def language(self) -> str | None:
        return None

    def render(self, completion: Completion, prompt: Prompt | None = None) -> Text:
        return Text(completion.text.strip())

    def render_begun(self, text: str, prompt: Prompt | None) -> str:
        return text.strip()

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def require_numbers(logprobs: Tensor) -> None:
    """Raises `ModelError` if one of the log-probabilities is NaN."""
    if logprobs.isnan().any():
        raise ModelError(
            "the model's probabilities are not numbers (NaN): training has diverged, or the checkpoint is damaged; "
            "lower optimizer.lr, or take an earlier checkpoint"
        )
