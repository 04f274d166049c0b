"""Shared by causal language models with text or audio prompts: prefill and extend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import DynamicCache

from antiphon.models.autoregressive import Autoregressive
from antiphon.models.prefix import Prefix
from antiphon.models.shared_cache import share_prompts


class DecoderOnly(Autoregressive):
    """A backbone that reads embeddings after a key-value cache, and a head that maps its states to logits."""

    def __init__(
        self,
        model: Any,
        backbone: Any,
        head: nn.Module,
        tokenizer: Any,
        block_tokens: Sequence[int] | str,
        never: Sequence[int] = (),
    ) -> None:
        super().__init__(model, head, tokenizer, block_tokens, never)
        self.backbone = backbone
        share_prompts(backbone)

    def _prefill(self, embeddings: Tensor, mask: Tensor) -> Prefix:
        """The prefix of prompts given as `embeddings` [P, L, D], padded on the left; `mask` [P, L].

        The cache keeps every position, even in sliding-window layers: the mask applies the window, which is exact for
        rows of unequal length.
        """
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        output = self._read(DynamicCache(), mask, positions, inputs_embeds=embeddings)
        return Prefix(output.past_key_values, mask, output.last_hidden_state[:, -1])

    def extend(self, past: Any, mask: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        return self._read(past, mask, positions, input_ids=tokens).last_hidden_state

    def _read(self, cache: Any, mask: Tensor, positions: Tensor, **inputs: Tensor) -> Any:
        return self.backbone(
            attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, **inputs
        )
