"""When a Whisper said each token: by what its decoder attends to while it writes.

One pass over the transcript records the cross-attention of some heads, the model's `alignment_heads` if its generation
config names them, else those of the upper half of the layers. Normalized over the tokens and smoothed by a median
filter over time, their mean is a matrix of tokens by frames, through which dynamic time warping finds the most
monotonic path. This is OpenAI's method; transformers has the same in `generate(return_token_timestamps=True)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor

from antiphon.models.internals import dynamic_time_warping
from antiphon.types import Seconds

WIDTH = 7
"""Of the median filter, in frames."""


@torch.no_grad()
def token_times(
    policy: Any, states: Tensor, opening: Sequence[int], tokens: Sequence[int], seconds: Seconds, frame: Seconds
) -> list[Seconds]:
    """The beginning of each of `tokens`, whose last is the stop token, from the beginning of a clip.

    `states` [1, S, D] are the encoder's, one each `frame`, for a clip of `seconds`; `opening` is the decoder's prompt.
    """
    ids = torch.tensor([[*opening, *tokens]], device=policy.device)
    with _recorded(policy.decoder) as recorded:
        policy.decoder(input_ids=ids, encoder_hidden_states=states, use_cache=False)
    frames = max(min(round(seconds / frame), states.shape[1]), 1)
    weights = torch.cat([recorded[layer][head, None] for layer, head in _heads(policy.model)]).float()[:, :, :frames]
    deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    normal = ((weights - mean) / deviation.clamp(min=1e-8)).cpu().numpy()
    matrix = median_filter(normal, (1, 1, WIDTH), mode="mirror").mean(0)[len(opening) - 1 : -1]
    rows, columns = dynamic_time_warping(-matrix.astype(np.float64))
    first = np.flatnonzero(np.diff(rows, prepend=rows[0] - 1))
    return [float(columns[place]) * frame for place in first]


def _heads(model: Any) -> list[tuple[int, int]]:
    """(layer, head) of each head that aligns."""
    named = getattr(model.generation_config, "alignment_heads", None)
    if named:
        return [(layer, head) for layer, head in named]
    layers, heads = model.config.decoder_layers, model.config.decoder_attention_heads
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


@contextmanager
def _recorded(decoder: Any) -> Iterator[list[Tensor]]:
    """During the block, a pass of `decoder` over one row fills the list: each layer's cross-attention [heads, T, S].

    It is computed from queries and keys, so that the attention's own implementation need not return it.
    """
    recorded: list[Tensor] = []
    kept: dict[str, Tensor] = {}

    def hooks(attention: Any) -> list[Any]:
        def keep(name: str) -> Any:
            return lambda module, inputs, output: kept.__setitem__(name, output[0])

        def record(module: Any, inputs: Any, output: Any) -> None:
            q, k = (kept.pop(name).unflatten(-1, (attention.num_heads, -1)).transpose(0, 1) for name in "qk")
            recorded.append((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1))

        return [
            attention.q_proj.register_forward_hook(keep("q")),
            attention.k_proj.register_forward_hook(keep("k")),
            attention.register_forward_hook(record),
        ]

    handles = [one for layer in decoder.layers for one in hooks(layer.encoder_attn)]
    try:
        yield recorded
    finally:
        for one in handles:
            one.remove()
