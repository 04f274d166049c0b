"""Audio-prefix language models: audio features scattered into a prompt, text out (Qwen3-ASR and its kin).

The audio encoder and the prompt run once for each distinct clip. Completions then attend to that prefix through
the key-value cache, which carries gradients, so a shared prefix gives the values and gradients of the expanded
batch to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from antiphon.errors import ModelError
from antiphon.models.autoregressive import Autoregressive, Prefix
from antiphon.models.prompt_cache import PromptCache
from antiphon.types import Prompt


@dataclass(frozen=True)
class Family:
    """What differs from one audio-prefix model to the next."""

    request: Callable[[Any, Prompt], str]
    """(processor, prompt) -> the prompt's text with one unexpanded audio placeholder."""
    answer: Callable[[str], str]
    """A decoded completion -> the answer without the model's framing."""
    audio_inputs: tuple[str, ...]
    """The processor's outputs that belong to the audio, all with time as their last axis."""


def _qwen3_asr_request(processor: Any, prompt: Prompt) -> str:
    silence = np.zeros(1, np.float32)
    return processor.apply_transcription_request(
        silence, language=prompt.language, prompt=prompt.context or None, tokenize=False
    )[0]


def _qwen3_asr_answer(text: str) -> str:
    """ "language English<asr_text>hello" -> "hello". Unlike the processor's parser it hides no repetitions."""
    return text.split("<asr_text>", 1)[-1].strip()


FAMILIES: dict[str, Family] = {
    "qwen3_asr": Family(_qwen3_asr_request, _qwen3_asr_answer, ("input_features", "input_features_mask")),
}


class AudioPrefixLM(Autoregressive):
    """A `Policy` over a transformers audio-prefix model and its processor."""

    def __init__(self, model: Any, processor: Any, block_tokens: Sequence[int] | str = "special") -> None:
        model_type = model.config.model_type
        if model_type not in FAMILIES:
            raise ModelError(
                f"model type {model_type!r} is not an audio-prefix LM that antiphon knows; "
                f"known: {', '.join(sorted(FAMILIES))}"
            )
        super().__init__(model, model.lm_head, processor.tokenizer, block_tokens, never=[processor.audio_token_id])
        self.family = FAMILIES[model_type]
        self.processor = processor
        self._prepared: PromptCache[dict[str, Tensor]] = PromptCache()

    @property
    def rate(self) -> int:
        return self.processor.feature_extractor.sampling_rate

    def prepare(self, prompt: Prompt) -> dict[str, Tensor]:
        """One prompt's model inputs, on the CPU, without padding.

        Each clip goes through the feature extractor alone: in a batch, the spectrogram's last frames would see
        the padding, and a clip's log-probabilities would depend on its neighbours.
        """
        prepared = self._prepared.get(prompt)
        if prepared is not None:
            return prepared
        if prompt.waveform is None:
            raise ModelError(f"prompt {prompt.id!r} has no audio, which this model needs")
        text = self.family.request(self.processor, prompt)
        inputs = self.processor(text=[text], audio=[prompt.waveform], sampling_rate=prompt.rate)
        self._require_room(prompt, len(inputs["input_ids"][0]))
        return self._prepared.put(prompt, {name: inputs[name][0] for name in ("input_ids", *self.family.audio_inputs)})

    def _require_room(self, prompt: Prompt, tokens: int) -> None:
        limit = self.model.config.get_text_config().max_position_embeddings
        if tokens >= limit:
            raise ModelError(
                f"prompt {prompt.id!r} takes {tokens} tokens ({prompt.seconds:.0f} s of audio) and this model "
                f"has {limit} positions; split the clip"
            )

    def _collate(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        rows = [self.prepare(prompt) for prompt in prompts]
        length = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), length), self.processor.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, length - len(row["input_ids"]) :] = row["input_ids"]
            mask[i, length - len(row["input_ids"]) :] = 1
        batch = {"input_ids": ids, "attention_mask": mask}
        for name in self.family.audio_inputs:
            width = max(row[name].shape[-1] for row in rows)
            padded = [nn.functional.pad(row[name], (0, width - row[name].shape[-1])) for row in rows]
            batch[name] = torch.stack(padded)
        dtype = self.head.weight.dtype
        return {
            name: value.to(self.device, dtype if value.is_floating_point() else None, non_blocking=True)
            for name, value in batch.items()
        }

    def encode(self, prompts: Sequence[Prompt]) -> Prefix:
        inputs = self._collate(prompts)
        mask = inputs["attention_mask"]
        output = self.model.model(
            **inputs,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            past_key_values=DynamicCache(config=self.model.config.get_text_config()),
            use_cache=True,
        )
        return Prefix(output.past_key_values, mask, output.last_hidden_state[:, -1])

    def _extend(self, cache: DynamicCache, mask: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        """Hidden states [N, S, D] of `tokens` [N, S] after the cache; `mask` [N, cached + S]."""
        output = self.model.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        return output.last_hidden_state

    def answer(self, text: str) -> str:
        return self.family.answer(text)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
