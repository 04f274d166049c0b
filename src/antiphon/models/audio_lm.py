"""Audio-prefix language models: audio features scattered into a text prompt (Qwen3-ASR and similar models).

The audio encoder and the prompt run once for each distinct clip. Completions then attend to that prefix through
the key-value cache, which carries gradients, so a shared prefix gives the values and gradients of the expanded
batch up to rounding. `audio_families` defines what differs between models.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from antiphon.errors import ModelError
from antiphon.models.audio_ctc import AudioListener
from antiphon.models.audio_families import FAMILIES, extractor
from antiphon.models.decoder_only import DecoderOnly
from antiphon.models.feature_cache import FeatureCache
from antiphon.models.internals import has_adapter
from antiphon.models.limits import Limits, positions_of
from antiphon.models.policy import Chat
from antiphon.models.prefix import Prefix, pad_left
from antiphon.models.prompt_cache import PromptCache
from antiphon.types import Completion, Prompt, Text


class AudioPrefixLM(DecoderOnly):
    """A `Policy` over a transformers audio-prefix model and its processor."""

    chat: Chat = "one clip"

    def __init__(self, model: Any, processor: Any, block_tokens: Sequence[int] | str = "special") -> None:
        model_type = model.config.model_type
        if model_type not in FAMILIES:
            raise ModelError(
                f"model type {model_type!r} is not a supported audio-prefix LM; "
                f"supported: {', '.join(sorted(FAMILIES))}"
            )
        if getattr(model.config, "has_lora_adapter", False) and not has_adapter(model):
            raise ModelError(
                "this model processes audio with a LoRA adapter that was not loaded; install peft, or set "
                "has_lora_adapter to false in its config.json if the adapter is merged"
            )
        self.family = FAMILIES[model_type]
        self.reads = self.family.reads
        self.processor = processor
        self.audio_token = model.config.audio_token_id
        head, tokenizer = model.lm_head, processor.tokenizer
        if block_tokens == "special" and callable(tokenizer.added_tokens_decoder):
            # Voxtral's, from mistral-common: it adds no tokens and has a list of its special ones instead.
            block_tokens = [*tokenizer.all_special_ids, *range(len(tokenizer), len(head.weight))]
        never = [self.audio_token] if self.audio_token < len(head.weight) else []
        super().__init__(model, model.model.language_model, head, tokenizer, block_tokens, never)
        self._prepared: PromptCache[dict[str, Tensor]] = PromptCache()
        self.feature_cache: FeatureCache | None = None
        self.audio_width = model.config.get_text_config().hidden_size
        self.audio_listener: AudioListener | None = None

    @property
    def rate(self) -> int:
        return extractor(self.processor).sampling_rate

    @property
    def limits(self) -> Limits:
        seconds = self.family.max_seconds(self.processor)
        return Limits(
            most_samples=None if math.isinf(seconds) else int(seconds * self.rate),
            positions=positions_of(self.model.config),
            languages=None if self.family.told_language else frozenset(),
        )

    def prepare(self, prompt: Prompt) -> dict[str, Tensor]:
        """One prompt's token ids [L] and audio [windows, ..., time], on the CPU, without padding.

        Each clip goes through the feature extractor alone: in a batch, the spectrogram's last frames would see
        the padding, and a clip's log-probabilities would depend on its neighbors.

        Raises `ModelError` for a prompt without audio, or with audio too short or too long for the model.
        """
        return self._prepared.get(prompt) or self._prepared.put(prompt, self._processed(prompt))

    def _processed(self, prompt: Prompt) -> dict[str, Tensor]:
        self.limits.require_clip(prompt)
        try:
            inputs = self.family.inputs(self.processor, prompt)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"prompt {prompt.id!r} ({prompt.seconds:.2f} s of audio): the model's processor rejects it: {error}"
            ) from error
        ids = inputs["input_ids"][0]
        self.limits.require_prompt(prompt, len(ids))
        if not (ids == self.audio_token).any():
            raise ModelError(
                f"prompt {prompt.id!r} has {prompt.seconds:.3f} s of audio, too little for one audio token"
            )
        return {"input_ids": ids, **{name: inputs[name] for name in self.family.audio}}

    def size(self, prompt: Prompt) -> int:
        return len(self.prepare(prompt)["input_ids"])

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self.prepare(prompt)["input_ids"].tolist()

    def audio_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        prepared = self.prepare(prompt)
        return {name: prepared[name] for name in self.family.audio}

    def encode(self, prompts: Sequence[Prompt]) -> Prefix:
        rows = [self.prepare(prompt) for prompt in prompts]
        ids, mask = pad_left([row["input_ids"] for row in rows], self.device)
        places = ids == self.audio_token
        # The placeholder's id may lie outside the vocabulary, so it is never embedded.
        embeddings = self.backbone.get_input_embeddings()(ids.masked_fill(places, 0))
        features = self._audio_features(rows)
        if self.audio_listener is not None:
            self.audio_listener(list(features.split(self._audio_tokens(rows))))
        features = features.to(embeddings.dtype)
        return self._prefill(embeddings.masked_scatter(places[..., None], features), mask)

    def _audio_features(self, rows: Sequence[dict[str, Tensor]]) -> Tensor:
        """The audio features of every prompt, in order [audio tokens, D]; each clip is encoded once."""
        if self.feature_cache is not None:
            return torch.cat([self._cached_features(self.feature_cache, row) for row in rows])
        batches: dict[Any, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            batches[self.family.bucket(self.model, row[self.family.audio[0]])].append(i)
        encoded: dict[int, Tensor] = {}
        for members in batches.values():
            encoded.update(zip(members, self._encode_together([rows[i] for i in members]), strict=True))
        return torch.cat([encoded[i] for i in range(len(rows))])

    def _cached_features(self, cache: FeatureCache, row: dict[str, Tensor]) -> Tensor:
        audio = {name: row[name] for name in self.family.audio}
        return cache.get(audio, lambda: self._encode_together([row]))[0]

    def _encode_together(self, rows: Sequence[dict[str, Tensor]]) -> tuple[Tensor, ...]:
        """The audio features [audio tokens, D] of each row, from one encoder pass."""
        features = self.family.encode_audio(self.model, self._audio(rows))
        tokens = self._audio_tokens(rows)
        if sum(tokens) != len(features):
            raise ModelError(
                f"the processor makes {sum(tokens)} audio tokens, but the encoder makes {len(features)}; "
                "the model and its processor do not match"
            )
        return features.split(tokens)

    def _audio_tokens(self, rows: Sequence[dict[str, Tensor]]) -> list[int]:
        """How many placeholders each prompt has."""
        return [int((row["input_ids"] == self.audio_token).sum()) for row in rows]

    def _audio(self, rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The audio of several prompts as one batch [windows, ..., time], time padded with zeros."""
        batch = {}
        for name in self.family.audio:
            width = max(row[name].shape[-1] for row in rows)
            padded = [nn.functional.pad(row[name], (0, width - row[name].shape[-1])) for row in rows]
            dtype = self.head.weight.dtype if rows[0][name].is_floating_point() else None
            batch[name] = torch.cat(padded).to(self.device, dtype, non_blocking=True)
        return batch

    def _framed(self, prompt: Prompt, text: str, language: str | None) -> str:
        return self.family.frame(text, language, prompt)

    def render(self, completion: Completion, prompt: Prompt | None = None) -> Text:
        return self.family.render(completion.text, prompt)

    def render_begun(self, text: str, prompt: Prompt | None) -> str:
        if prompt is not None and self.family.may_be_framing(text, prompt):
            return ""
        return self.family.render(text, prompt).text

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
