"""Audio-prefix language models: audio features scattered into a prompt, text out (Qwen3-ASR and its kin).

The audio encoder and the prompt run once for each distinct clip. Completions then attend to that prefix through
the key-value cache, which carries gradients, so a shared prefix gives the values and gradients of the expanded
batch to rounding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from antiphon.errors import ModelError
from antiphon.models.logits import log_softmax, token_logprobs
from antiphon.models.policy import Sampling, inverse_cdf_sample
from antiphon.types import Completion, FinishReason, Prompt

PREPARED_PROMPTS = 512
"""Processed prompts kept, so that the loss need not redo the rollout's feature extraction."""


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


@dataclass
class Prefix:
    """P prompts after one pass: keys and values, and what the next token is predicted from."""

    cache: DynamicCache
    mask: Tensor
    """[P, L], 1 where a prompt token stands; prompts are padded on the left."""
    hidden: Tensor
    """[P, D], the last prompt position."""

    @property
    def lengths(self) -> Tensor:
        """[P] prompt tokens, audio tokens included."""
        return self.mask.sum(-1)


class AudioPrefixLM:
    """A `Policy` over a transformers audio-prefix model and its processor. Always in eval mode."""

    def __init__(self, model: Any, processor: Any, block_tokens: Sequence[int] | str = "special") -> None:
        model_type = model.config.model_type
        if model_type not in FAMILIES:
            raise ModelError(
                f"model type {model_type!r} is not an audio-prefix LM that antiphon knows; "
                f"known: {', '.join(sorted(FAMILIES))}"
            )
        self.family = FAMILIES[model_type]
        self.model: Any = model.eval()
        self.processor = processor
        self.version = 0
        weight = model.lm_head.weight
        self.device, self.vocabulary = weight.device, weight.shape[0]
        self.stop_ids = _stop_ids(model)
        self.blocked = self._blocked(block_tokens).to(self.device)
        self._prepared: OrderedDict[int, tuple[Prompt, dict[str, Tensor]]] = OrderedDict()

    @property
    def rate(self) -> int:
        return self.processor.feature_extractor.sampling_rate

    def _blocked(self, block_tokens: Sequence[int] | str) -> Tensor:
        """[V], True for tokens that are never sampled: by default every special token but the stop tokens."""
        blocked = torch.zeros(self.vocabulary, dtype=torch.bool)
        tokenizer = self.processor.tokenizer
        if block_tokens == "special":
            special = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
            blocked[[i for i in special if i < self.vocabulary]] = True
            blocked[len(tokenizer) :] = True
        else:
            blocked[[int(token) for token in block_tokens]] = True
            blocked[self.processor.audio_token_id] = True
        blocked[sorted(self.stop_ids)] = False
        return blocked

    def prepare(self, prompt: Prompt) -> dict[str, Tensor]:
        """One prompt's model inputs, on the CPU, without padding.

        Each clip goes through the feature extractor alone: in a batch, the spectrogram's last frames would see
        the padding, and a clip's log-probabilities would depend on its neighbours.
        """
        key = id(prompt)
        if key not in self._prepared:
            if prompt.waveform is None:
                raise ModelError(f"prompt {prompt.id!r} has no audio, which this model needs")
            text = self.family.request(self.processor, prompt)
            inputs = self.processor(text=[text], audio=[prompt.waveform], sampling_rate=prompt.rate)
            self._require_room(prompt, len(inputs["input_ids"][0]))
            names = ("input_ids", *self.family.audio_inputs)
            self._prepared[key] = (prompt, {name: inputs[name][0] for name in names})
            if len(self._prepared) > PREPARED_PROMPTS:
                self._prepared.popitem(last=False)
        return self._prepared[key][1]

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
        dtype = self.model.lm_head.weight.dtype
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

    def logprobs(self, prefix: Prefix, tokens: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        group = len(tokens) // len(prefix.mask)
        first = prefix.hidden.repeat_interleave(group, 0)[:, None]
        states = first
        if tokens.shape[1] > 1:
            cache = _repeat(prefix.cache, group)
            prompt_mask = prefix.mask.repeat_interleave(group, 0)
            inputs = tokens[:, :-1]
            positions = prompt_mask.sum(-1, keepdim=True) + torch.arange(inputs.shape[1], device=self.device)
            full_mask = torch.cat([prompt_mask, mask[:, :-1].to(prompt_mask)], 1)
            states = torch.cat([first, self._extend(cache, full_mask, inputs, positions)], 1)
        taken = mask.bool()
        values = token_logprobs(self.model.lm_head, states[taken], tokens[taken], self.blocked, temperature)
        return torch.zeros(mask.shape, device=self.device).masked_scatter(taken, values)

    @torch.no_grad()
    def sample(
        self, prefix: Prefix, n: int, sampling: Sampling, uniforms: np.ndarray | None = None
    ) -> list[list[Completion]]:
        greedy = sampling.temperature == 0
        if not greedy and uniforms is None:
            raise ValueError("sampling at a temperature above 0 needs `uniforms`")
        total, limit = len(prefix.mask) * n, sampling.max_new_tokens
        tokens = torch.zeros(total, limit, dtype=torch.long, device=self.device)
        logprobs = torch.zeros(total, limit, device=self.device)
        lengths = torch.full((total,), limit, device=self.device)
        stopped = torch.zeros(total, dtype=torch.bool, device=self.device)
        stops = torch.tensor(sorted(self.stop_ids), device=self.device)
        draws = None if greedy else torch.from_numpy(uniforms).to(self.device)

        rows = torch.arange(total, device=self.device)
        cache, mask = _repeat(prefix.cache, n), prefix.mask.repeat_interleave(n, 0)
        hidden, positions = prefix.hidden.repeat_interleave(n, 0), mask.sum(-1, keepdim=True)
        for t in range(limit):
            scores = log_softmax(self.model.lm_head, hidden, self.blocked, sampling.temperature or 1.0)
            chosen = scores.argmax(-1) if draws is None else inverse_cdf_sample(scores, draws[rows, t])
            tokens[rows, t] = chosen
            logprobs[rows, t] = scores.gather(-1, chosen[:, None]).squeeze(-1)
            ends = torch.isin(chosen, stops)
            stopped[rows] = ends
            lengths[rows[ends]] = t + 1
            going = (~ends).nonzero().squeeze(-1)
            if len(going) == 0 or t == limit - 1:
                break
            if len(going) < len(rows):
                rows, mask, positions, chosen = rows[going], mask[going], positions[going], chosen[going]
                cache.batch_select_indices(going)
            mask = nn.functional.pad(mask, (0, 1), value=1)
            hidden = self._extend(cache, mask, chosen[:, None], positions)[:, -1]
            positions = positions + 1
        return self._completions(n, tokens, logprobs, lengths, stopped)

    def _completions(
        self, n: int, tokens: Tensor, logprobs: Tensor, lengths: Tensor, stopped: Tensor
    ) -> list[list[Completion]]:
        ids, values, ended = tokens.tolist(), logprobs.tolist(), stopped.tolist()
        rows = [ids[i][:length] for i, length in enumerate(lengths.tolist())]
        texts = self.processor.tokenizer.batch_decode(rows, skip_special_tokens=True)
        completions = []
        for i, row in enumerate(rows):
            reason: FinishReason = "stop" if ended[i] else "length"
            completions.append(Completion(tuple(row), tuple(values[i][: len(row)]), texts[i], reason, self.version))
        return [completions[i : i + n] for i in range(0, len(completions), n)]

    def answer(self, text: str) -> str:
        return self.family.answer(text)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def _repeat(cache: Any, n: int) -> DynamicCache:
    """A cache whose every prompt appears `n` times in a row; the original is left as it was, gradients flow."""
    layers = [(layer.keys.repeat_interleave(n, 0), layer.values.repeat_interleave(n, 0)) for layer in cache.layers]
    return DynamicCache(layers)


def _stop_ids(model: Any) -> frozenset[int]:
    """The generation config's end-of-sequence ids, else the model config's."""
    for config in (getattr(model, "generation_config", None), model.config):
        ids = getattr(config, "eos_token_id", None)
        if ids is not None:
            return frozenset([ids] if isinstance(ids, int) else ids)
    raise ModelError("the model's configuration names no eos_token_id, so no completion could ever stop")
