"""Encoder-decoder recognizers: an audio encoder, and a decoder that cross-attends to it (Whisper and similar models).

Each distinct clip is encoded once, and its cross-attention keys and values are computed once: the decoder's prompt
attends to them through a `GroupCache`, and so does every completion of the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, DynamicCache

from antiphon.errors import ModelError
from antiphon.models import decoder_prompt
from antiphon.models.audio_ctc import AudioListener
from antiphon.models.autoregressive import Autoregressive
from antiphon.models.cross_attention import token_times
from antiphon.models.feature_cache import FeatureCache, Features
from antiphon.models.fold import Fold
from antiphon.models.group_cache import GroupCache, share_clips
from antiphon.models.internals import frames_after_convolutions, frames_after_subsampling
from antiphon.models.limits import Limits, positions_of
from antiphon.models.pieces import Pieces
from antiphon.models.prefix import Prefix, pad_left
from antiphon.models.prompt_cache import PromptCache
from antiphon.models.shared_cache import share_prompts
from antiphon.models.word_times import Word, by_word
from antiphon.types import Completion, Prompt, Words

MOONSHINE_SHORTEST = 895
"""Minimum number of samples for which Moonshine's convolutions have an output."""


@dataclass(frozen=True)
class Family:
    """What differs between encoder-decoders."""

    features: Callable[[Any, Prompt, np.ndarray], dict[str, Tensor]]
    """(feature extractor, prompt, its waveform) -> the encoder's inputs, time first where lengths differ."""
    decoder_prompts: Callable[[Any, Any, Sequence[Prompt], decoder_prompt.Detect], list[list[int]]]
    """One of those in `decoder_prompt`."""
    frames: Callable[[Any, dict[str, Tensor]], int | Tensor]
    """(model, the encoder's inputs) -> number of its output frames."""
    pads: bool
    """Whether padding leaves the encoder's outputs unchanged; if not, only clips of one length share a batch."""
    languages: Callable[[Any, Any], frozenset[str] | None]
    """(model, processor) -> the codes of the languages that a prompt may name; None if it does not matter."""
    reads: frozenset[Words] = frozenset()
    """Which words of a prompt it reads."""
    window: Callable[[Any], int | None] = lambda extractor: None
    """(feature extractor) -> samples of the longest clip; None for no limit."""
    shortest: int = 1
    """Samples of the shortest clip."""


def _whisper_features(extractor: Any, prompt: Prompt, waveform: np.ndarray) -> dict[str, Tensor]:
    """A window of fixed length: the clip, padded with silence."""
    inputs = extractor(waveform, sampling_rate=prompt.rate, return_tensors="pt")
    return {"input_features": inputs["input_features"][0]}


def _moonshine_features(extractor: Any, prompt: Prompt, waveform: np.ndarray) -> dict[str, Tensor]:
    inputs = extractor(waveform, sampling_rate=prompt.rate, return_attention_mask=True, return_tensors="pt")
    return {name: inputs[name][0] for name in ("input_values", "attention_mask")}


def _cohere_features(extractor: Any, prompt: Prompt, waveform: np.ndarray) -> dict[str, Tensor]:
    inputs = extractor(waveform, sampling_rate=prompt.rate, return_tensors="pt")
    if not inputs["input_features"].isfinite().all():
        raise ModelError(
            f"prompt {prompt.id!r} has {prompt.seconds:.3f} s of audio, too little for this model; drop it"
        )
    return {name: inputs[name][0] for name in ("input_features", "attention_mask")}


def _cohere_window(extractor: Any) -> int:
    """The extractor cuts a longer clip into several."""
    return round(extractor.max_audio_clip_s * extractor.sampling_rate)


def _whisper_frames(model: Any, features: dict[str, Tensor]) -> int:
    return model.config.max_source_positions


def _moonshine_frames(model: Any, features: dict[str, Tensor]) -> int:
    return frames_after_convolutions(model, len(features["input_values"]))


def _cohere_frames(model: Any, features: dict[str, Tensor]) -> Tensor:
    return frames_after_subsampling(model.model.encoder, features["attention_mask"].sum())


FAMILIES: dict[str, Family] = {
    "whisper": Family(
        _whisper_features,
        decoder_prompt.whisper,
        _whisper_frames,
        pads=True,
        languages=decoder_prompt.whisper_languages,
        reads=frozenset({"context"}),
        window=lambda extractor: extractor.n_samples,
    ),
    "moonshine": Family(
        _moonshine_features,
        decoder_prompt.moonshine,
        _moonshine_frames,
        pads=False,  # Its group norm runs over the whole clip, padding included.
        languages=lambda model, processor: None,
        shortest=MOONSHINE_SHORTEST,
    ),
    "cohere_asr": Family(
        _cohere_features,
        decoder_prompt.cohere_asr,
        _cohere_frames,
        pads=True,
        languages=decoder_prompt.cohere_languages,
        window=_cohere_window,
    ),
}


class EncoderDecoder(Autoregressive):
    """A `Policy` over a transformers speech encoder-decoder and its processor.

    The generation config's `suppress_tokens` and Whisper's timestamps are blocked in sampling and in the loss, and its
    `begin_suppress_tokens` at the first position.
    """

    def __init__(self, model: Any, processor: Any, block_tokens: Sequence[int] | str = "special") -> None:
        model_type = model.config.model_type
        if model_type not in FAMILIES:
            raise ModelError(
                f"model type {model_type!r} is not a supported encoder-decoder; "
                f"supported: {', '.join(sorted(FAMILIES))}"
            )
        head, settings = model.get_output_embeddings(), model.generation_config
        never = list(settings.suppress_tokens or [])
        if model_type == "whisper":  # Timestamps end its vocabulary.
            never += range(decoder_prompt.token_id(processor, "<|notimestamps|>") + 1, head.weight.shape[0])
        never_first = settings.begin_suppress_tokens or []
        super().__init__(model, head, processor.tokenizer, block_tokens, never, never_first)
        self.family = FAMILIES[model_type]
        self.reads = self.family.reads
        self.processor = processor
        self._limits = Limits(
            self.family.window(processor.feature_extractor),
            self.family.shortest,
            positions_of(model.config),
            self.family.languages(model, processor),
            decoder_prompt.translates(model),
        )
        self.encoder, self.decoder = model.get_encoder(), model.get_decoder()
        share_clips(self.decoder)
        share_prompts(self.decoder)
        self._prepared: PromptCache[dict[str, Tensor]] = PromptCache()
        self.feature_cache: FeatureCache | None = None
        self.audio_listener: AudioListener | None = None
        # Detected languages are cached, so that rollout and loss agree even after the weights change.
        self._openings: PromptCache[Tensor] = PromptCache()
        # Decoders require encoder states even if the cache holds their keys and values.
        self.audio_width = getattr(model.config, "encoder_config", model.config).hidden_size
        self._unread = torch.zeros(1, 1, self.audio_width, dtype=head.weight.dtype, device=self.device)

    @property
    def language(self) -> str | None:
        whisper = self.model.config.model_type == "whisper"
        return "en" if whisper and decoder_prompt.english_only(self.model.generation_config) else None

    @property
    def rate(self) -> int:
        return self.processor.feature_extractor.sampling_rate

    @property
    def limits(self) -> Limits:
        return self._limits

    def taken(self, prompt: Prompt) -> int:
        """Tokens of the decoder's prompt: the clip is beside it, and a language to be detected is one of them."""
        some = [0]
        return len(self.family.decoder_prompts(self.model, self.processor, [prompt], lambda chosen: some)[0])

    def _prepare(self, prompt: Prompt) -> dict[str, Tensor]:
        """One clip's features, on the CPU."""
        prepared = self._prepared.get(prompt)
        if prepared is not None:
            return prepared
        self.limits.require_clip(prompt)
        assert prompt.waveform is not None
        features = self.family.features(self.processor.feature_extractor, prompt, prompt.waveform)
        return self._prepared.put(prompt, features)

    def size(self, prompt: Prompt) -> int:
        """Number of encoder frames; the few tokens of the decoder's prompt are not counted."""
        return int(self.family.frames(self.model, self._prepare(prompt)))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The decoder's prompt; the encoder runs only to detect the language."""
        with torch.no_grad():
            return self._decoder_prompts([prompt], lambda: self._audio_states([self._prepare(prompt)])[0])[0].tolist()

    def audio_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        return self._prepare(prompt)

    def encode(self, prompts: Sequence[Prompt]) -> Prefix:
        states, audio_mask = self._audio_states([self._prepare(prompt) for prompt in prompts])
        if self.audio_listener is not None:
            self.audio_listener(_trimmed(states, audio_mask))
        tokens, mask = pad_left(self._decoder_prompts(prompts, lambda: states.detach()), self.device)
        groups = Fold(torch.arange(len(prompts), device=self.device))
        cache = GroupCache(DynamicCache(), DynamicCache(), groups, audio_mask)
        hidden = self._decode(cache, mask, tokens, (mask.cumsum(-1) - 1).clamp(min=0), states)
        return Prefix(cache.self_attention_cache, mask, hidden[:, -1], cache.cross_attention_cache, audio_mask)

    @property
    def times_words(self) -> bool:
        """Whether it is a Whisper, whose cross-attention follows the speech."""
        return self.model.config.model_type == "whisper"

    @torch.no_grad()
    def word_times(self, prompt: Prompt, completion: Completion) -> list[Word]:
        states, _ = self._audio_states([self._prepare(prompt)])
        opening = self._decoder_prompts([prompt], lambda: states)[0].tolist()
        ids = list(completion.token_ids)
        ids = ids[:-1] if ids and ids[-1] in self.stop_ids else ids
        window = self.limits.longest(self.rate)
        frame = (window or prompt.seconds) / states.shape[1]
        starts = token_times(self, states, opening, [*ids, min(self.stop_ids)], prompt.seconds, frame)
        return by_word(Pieces(self.tokenizer)(ids), starts)

    def _audio_states(self, clips: Sequence[dict[str, Tensor]]) -> tuple[Tensor, Tensor | None]:
        """Encoder states [P, S, D], and the additive cross-attention mask [P, 1, 1, S] if the encoder masks."""
        if self.feature_cache is None:
            encoded = self._encode_in_batches(clips)
        else:
            encoded = [self._cached_states(self.feature_cache, clip) for clip in clips]
        states, *masks = (pad_sequence(list(rows), batch_first=True) for rows in zip(*encoded, strict=True))
        if not masks:
            return states, None
        mask = masks[0][:, None, None]
        return states, torch.zeros_like(mask, dtype=states.dtype).masked_fill(~mask, torch.finfo(states.dtype).min)

    def _encode_in_batches(self, clips: Sequence[dict[str, Tensor]]) -> list[Features]:
        lengths = [0 if self.family.pads else len(next(iter(clip.values()))) for clip in clips]
        encoded: dict[int, Features] = {}
        for length in sorted(set(lengths)):
            chosen = [i for i in range(len(clips)) if lengths[i] == length]
            encoded.update(zip(chosen, self._encode_together([clips[i] for i in chosen]), strict=True))
        return [encoded[i] for i in range(len(clips))]

    def _cached_states(self, cache: FeatureCache, clip: dict[str, Tensor]) -> Features:
        return cache.get(clip, lambda: self._encode_together([clip])[0])

    def _encode_together(self, clips: Sequence[dict[str, Tensor]]) -> list[Features]:
        """Each clip's encoder states [S, D], and their mask [S] if the encoder masks, from one pass."""
        output = self.encoder(**{name: self._batch([clip[name] for clip in clips]) for name in clips[0]})
        mask = getattr(output, "attention_mask", None)
        return list(zip(output.last_hidden_state, *([] if mask is None else [mask.bool()]), strict=True))

    def _batch(self, rows: list[Tensor]) -> Tensor:
        batch = pad_sequence(rows, batch_first=True)
        return batch.to(self.device, self._unread.dtype if batch.is_floating_point() else None, non_blocking=True)

    def _decoder_prompts(self, prompts: Sequence[Prompt], states: Callable[[], Tensor]) -> list[Tensor]:
        """The decoder's prompt for each clip; languages that are not given are detected from `states` [P, S, D]."""
        openings = {
            i: opening for i, prompt in enumerate(prompts) if (opening := self._openings.get(prompt)) is not None
        }
        new = [i for i in range(len(prompts)) if i not in openings]
        if new:
            found = self.family.decoder_prompts(
                self.model,
                self.processor,
                [prompts[i] for i in new],
                lambda chosen: self._detect_language(states()[[new[i] for i in chosen]]),
            )
            for i, ids in zip(new, found, strict=True):
                self.limits.require_prompt(prompts[i], len(ids))
                openings[i] = self._openings.put(prompts[i], torch.tensor(ids))
        return [openings[i] for i in range(len(prompts))]

    @torch.no_grad()
    def _detect_language(self, states: Tensor) -> list[int]:
        """Whisper's most probable language token for each clip; `states` [P, S, D]."""
        start = torch.full((len(states), 1), decoder_prompt.start_id(self.model), device=self.device)
        hidden = self.decoder(input_ids=start, encoder_hidden_states=states, use_cache=False).last_hidden_state
        languages = torch.tensor(sorted(self.model.generation_config.lang_to_id.values()), device=self.device)
        return languages[self.head(hidden[:, -1])[:, languages].argmax(-1)].tolist()

    def _decode(self, cache: GroupCache, mask: Tensor, tokens: Tensor, positions: Tensor, states: Tensor) -> Tensor:
        """Hidden states [N, S, D] of `tokens` [N, S] after the cache; `mask` [N, cached + S]."""
        audio = {} if cache.audio_mask is None else {"encoder_attention_mask": cache.audio_mask}
        return self.decoder(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            encoder_hidden_states=states,
            past_key_values=cache,
            use_cache=True,
            **audio,
        ).last_hidden_state

    def attach(self, cache: Cache, prefix: Prefix, groups: Fold) -> GroupCache:
        return GroupCache(cache, prefix.clips, groups, prefix.audio_mask)

    def extend(self, past: Any, mask: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        return self._decode(past, mask, tokens, positions, self._unread)

    def _tokenized(self, text: str) -> list[int]:
        """Whisper opens a transcript with a space, unless that would be a token by itself, as before Chinese: it never
        samples such a token first, and its own tokenizer trains it on the text alone."""
        if self.model.config.model_type != "whisper" or not text:
            return super()._tokenized(text)
        spaced = super()._tokenized(f" {text}")
        return super()._tokenized(text) if self.blocked_first[spaced[0]] else spaced

    def _all_tokenized(self, texts: Sequence[str]) -> list[list[int]]:
        if self.model.config.model_type != "whisper":
            return super()._all_tokenized(texts)
        rows = super()._all_tokenized([f" {text}" for text in texts])
        alone = [not text or self.blocked_first[row[0]] for text, row in zip(texts, rows, strict=True)]
        return [self._tokenized(text) if odd else row for text, row, odd in zip(texts, rows, alone, strict=True)]

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def _trimmed(states: Tensor, audio_mask: Tensor | None) -> list[Tensor]:
    """Each clip's own states [S, D] out of [P, S, D]."""
    if audio_mask is None:
        return list(states)
    lengths = (audio_mask == 0).sum(-1).flatten().tolist()
    return [row[:length] for row, length in zip(states, lengths, strict=True)]
