"""Text language models: any causal LM of transformers whose layers attend to a key-value cache (Qwen3 and others)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from antiphon.errors import ModelError
from antiphon.models.decoder_only import DecoderOnly
from antiphon.models.internals import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, keeps_other_state
from antiphon.models.limits import Limits, positions_of
from antiphon.models.policy import Chat
from antiphon.models.prefix import Prefix, pad_left
from antiphon.models.prompt_cache import PromptCache
from antiphon.text.thoughts import split_ended
from antiphon.types import Completion, Hertz, Prompt, Text

MODEL_TYPES: frozenset[str] = frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
CACHED_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers whose past is keys and values of every position."""


class TextLM(DecoderOnly):
    """A `Policy` over a causal LM and its tokenizer; prompts are text alone."""

    chat: Chat = "turns"

    def __init__(self, model: Any, tokenizer: Any, block_tokens: Sequence[int] | str = "special") -> None:
        """Raises `ModelError` for a model that keeps another state than keys and values, or has another head."""
        _require_cache(model)
        super().__init__(model, model.get_decoder(), ScaledHead(model), tokenizer, block_tokens)
        self._require_parity()
        self._prepared: PromptCache[Tensor] = PromptCache()

    @property
    def rate(self) -> Hertz:
        """0: it takes no audio."""
        return 0

    @property
    def limits(self) -> Limits:
        return Limits(positions=positions_of(self.model.config))

    def prepare(self, prompt: Prompt) -> Tensor:
        """The prompt's token ids [L], through the tokenizer's chat template where it has one.

        The context is the system prompt; without a chat template it stands before the instruction, on a line of
        its own. Raises `ModelError` for a prompt that carries audio, is empty, or is too long for the model.
        """
        prepared = self._prepared.get(prompt)
        if prepared is not None:
            return prepared
        if prompt.waveform is not None:
            raise ModelError(f"prompt {prompt.id!r} has audio, which a text model cannot process")
        ids = self._tokenize(prompt)
        self.limits.require_prompt(prompt, len(ids))
        if len(ids) == 0:
            raise ModelError(f"prompt {prompt.id!r} is empty, and this model has no token that opens a text")
        return self._prepared.put(prompt, ids)

    def _tokenize(self, prompt: Prompt) -> Tensor:
        if self.tokenizer.chat_template is None:
            text = "\n".join(filter(None, (prompt.context, prompt.instruction)))
            return torch.tensor(self.tokenizer(text)["input_ids"], dtype=torch.long)
        system = [{"role": "system", "content": prompt.context}] if prompt.context else []
        messages = [*system, {"role": "user", "content": prompt.instruction}]
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return torch.tensor(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=torch.long)

    def size(self, prompt: Prompt) -> int:
        return len(self.prepare(prompt))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self.prepare(prompt).tolist()

    def audio_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        return {}

    def encode(self, prompts: Sequence[Prompt]) -> Prefix:
        return self.read([self.prepare(prompt) for prompt in prompts])

    def read(self, texts: Sequence[Tensor]) -> Prefix:
        """The prefix of texts given as token ids [L], such as conversations of several turns."""
        ids, mask = pad_left(texts, self.device)
        return self._prefill(self.backbone.get_input_embeddings()(ids), mask)

    def render(self, completion: Completion, prompt: Prompt | None = None) -> Text:
        """What follows a reasoning model's thoughts; a completion that never stops thinking has no answer."""
        thoughts, answer = split_ended(completion.text)
        return Text(answer, reasoning=thoughts)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @torch.no_grad()
    def _require_parity(self) -> None:
        """Four tokens, two of them after a cache: backbone and head must give the logits of the model's own forward."""
        ids = torch.arange(4, device=self.device)[None] % self.vocabulary
        expected = self.model(input_ids=ids).logits[:, -1].float()
        mask = torch.ones_like(ids)
        prefix = self._prefill(self.backbone.get_input_embeddings()(ids[:, :2]), mask[:, :2])
        states = self.extend(prefix.cache, mask, ids[:, 2:], torch.tensor([[2, 3]], device=self.device))
        difference = float((self.head(states[:, -1]).float() - expected).abs().max())
        tolerance = 1e-3 if expected.dtype == self.head.weight.dtype else 0.1
        if not difference <= tolerance * max(1.0, float(expected.abs().max())):
            raise ModelError(
                f"{type(self.model).__name__} computes its logits in a way that antiphon does not follow "
                f"(they differ by {difference:.2g}); it cannot be trained"
            )


class ScaledHead(nn.Module):
    """A causal LM's output layer with what its own forward does to the logits: a factor and a soft cap."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        config = model.config.get_text_config()
        self.linear: Any = model.get_output_embeddings()
        self.factor = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        self.cap = getattr(config, "final_logit_softcapping", None)

    @property
    def weight(self) -> Tensor:
        return self.linear.weight

    def forward(self, hidden: Tensor) -> Tensor:
        logits = self.linear(hidden)
        if self.factor != 1.0:
            logits = logits * self.factor
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


def _require_cache(model: Any) -> None:
    layers = getattr(model.config.get_text_config(), "layer_types", None) or ()
    others = set(layers) - CACHED_LAYERS
    if keeps_other_state(model) or others:
        kinds = f" ({', '.join(sorted(others))})" if others else ""
        raise ModelError(
            f"{type(model).__name__} keeps a state that is not keys and values{kinds}, which antiphon cannot share "
            "among the completions of a prompt; use a model whose layers all attend"
        )
