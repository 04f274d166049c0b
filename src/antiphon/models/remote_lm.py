"""Audio LMs with remote code (`trust_remote_code`): causal LMs that take their clip as `audios`, like ARK-ASR.

Only the call signature of such a model is known. Each prompt is therefore encoded alone, by the model's own forward,
and the prefixes are joined afterward, so that prompts cannot affect each other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from antiphon.audio.encode import wav
from antiphon.errors import ModelError
from antiphon.models.audio_families import instruction_of
from antiphon.models.autoregressive import Autoregressive
from antiphon.models.limits import Limits, positions_of
from antiphon.models.policy import Chat
from antiphon.models.prefix import Prefix, join
from antiphon.models.prompt_cache import PromptCache
from antiphon.types import Hertz, Prompt

TOLERANCE = 1e-2
"""Largest relative difference between the head's logits and the model's own; above it, the head is not all."""


class RemoteAudioLM(Autoregressive):
    """A `Policy` for a model loaded with `trust_remote_code` and its processor.

    The model takes `input_ids`, `attention_mask`, `position_ids`, `past_key_values` and `audios`, uses a
    `DynamicCache`, and returns `logits` and `hidden_states`; its processor's `apply_chat_template` reads
    an audio file by its path and returns `input_ids` and `audios`.
    """

    chat: Chat = "one clip"

    def __init__(self, model: Any, processor: Any, block_tokens: Sequence[int] | str = "special") -> None:
        super().__init__(model, model.get_output_embeddings(), processor.tokenizer, block_tokens)
        # Its code may build its own mask.
        self.groups_attention = False
        self.processor = processor
        self._prepared: PromptCache[dict[str, Tensor]] = PromptCache()

    @property
    def rate(self) -> Hertz:
        return self.processor.feature_extractor.sampling_rate

    @property
    def limits(self) -> Limits:
        return Limits(positions=positions_of(self.model.config))

    def prepare(self, prompt: Prompt) -> dict[str, Tensor]:
        """Model inputs of one prompt, on the CPU. Raises `ModelError` if the processor returns no `audios`."""
        prepared = self._prepared.get(prompt)
        if prepared is not None:
            return prepared
        self.limits.require_clip(prompt)
        assert prompt.waveform is not None
        system = [{"role": "system", "content": [{"type": "text", "text": prompt.context}]}] if prompt.context else []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.wav"
            path.write_bytes(wav(prompt.waveform, prompt.rate))
            content = [{"type": "audio", "path": str(path)}, {"type": "text", "text": instruction_of(prompt)}]
            inputs = self.processor.apply_chat_template(
                [*system, {"role": "user", "content": content}], add_generation_prompt=True, return_tensors="pt"
            )
        if isinstance(inputs, str) or not {"input_ids", "audios"} <= set(inputs):
            raise ModelError(
                f"{type(self.processor).__name__}.apply_chat_template does not return `input_ids` and `audios`; "
                "antiphon trains remote code of this form only"
            )
        self.limits.require_prompt(prompt, inputs["input_ids"].shape[-1])
        return self._prepared.put(prompt, dict(inputs))

    def size(self, prompt: Prompt) -> int:
        return self.prepare(prompt)["input_ids"].shape[-1]

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self.prepare(prompt)["input_ids"].flatten().tolist()

    def audio_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        return {"audios": self.prepare(prompt)["audios"]}

    def encode(self, prompts: Sequence[Prompt]) -> Prefix:
        return join([self._read_prompt(self.prepare(prompt)) for prompt in prompts])

    def _read_prompt(self, inputs: dict[str, Tensor]) -> Prefix:
        dtype = self.head.weight.dtype
        placed = {k: v.to(self.device, dtype if v.is_floating_point() else None) for k, v in inputs.items()}
        output = self._forward(DynamicCache(), **placed)
        hidden = output.hidden_states[-1][:, -1]
        with torch.no_grad():
            own = output.logits[:, -1].float()
            difference = float((self.head(hidden).float() - own).abs().max() / own.abs().max().clamp(min=1.0))
        if not difference <= TOLERANCE:
            raise ModelError(
                f"the logits of {type(self.model).__name__} are not its output layer applied to its last hidden "
                f"state (relative difference {difference:.2g}); it cannot be trained"
            )
        length = output.past_key_values.get_seq_length()
        return Prefix(output.past_key_values, torch.ones(1, length, dtype=torch.long, device=self.device), hidden)

    def extend(self, past: Any, mask: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        output = self._forward(past, input_ids=tokens, attention_mask=mask, position_ids=positions)
        return output.hidden_states[-1]

    def _forward(self, cache: DynamicCache, **inputs: Tensor) -> Any:
        return self.model(**inputs, past_key_values=cache, use_cache=True, output_hidden_states=True, return_dict=True)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
