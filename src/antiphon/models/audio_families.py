"""The audio-prefix families: how each model's own processor makes its inputs, and how its encoder hears them."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from antiphon.audio.encode import wav
from antiphon.errors import ModelError
from antiphon.models.internals import LANGUAGE_CODE_TO_NAME, create_bidirectional_mask, frames_after_convolutions
from antiphon.text.language_tag import may_be_tag, tagged, untagged
from antiphon.types import Prompt, Seconds, Text, Words

Inputs = Mapping[str, Tensor]


def _pooled(model: Any, audio: Inputs) -> Tensor:
    """The encoder's and projector's output, as most models offer it: [audio tokens, D]."""
    features = model.model.get_audio_features(**audio, return_dict=True).pooler_output
    return features.reshape(-1, features.shape[-1])


@dataclass(frozen=True)
class Family:
    """What differs from one audio-prefix model to the next."""

    architecture: str
    """The class in transformers."""
    inputs: Callable[[Any, Prompt], Inputs]
    """(processor, prompt) -> the prompt's `input_ids` [1, L], a placeholder for each audio token, and its audio."""
    audio: tuple[str, ...] = ("input_features",)
    """The inputs that are the audio's: [windows, ..., time], one window a clip or several."""
    encode_audio: Callable[[Any, Inputs], Tensor] = _pooled
    """(model, audio of several clips) -> the features that replace the placeholders [audio tokens, D], in order."""
    render: Callable[[str, Prompt | None], Text] = lambda text, prompt: Text(text.strip())
    """(a decoded completion, prompt) -> the answer without the model's framing, and the language that that names."""
    may_be_framing: Callable[[str, Prompt], bool] = lambda text, prompt: False
    """(the beginning of a completion, prompt) -> whether all of it may still be framing."""
    frame: Callable[[str, str | None, Prompt], str] = lambda text, language, prompt: text
    """(text, its language, prompt) -> the completion with the model's framing: the inverse of `render`."""
    max_seconds: Callable[[Any], Seconds] = lambda processor: math.inf
    """(processor) -> what the processor would cut, silently, is longer than this."""
    reads: frozenset[Words] = frozenset({"instruction", "context"})
    """Which words of a prompt it reads."""
    told_language: bool = True
    """Whether a prompt may name the language."""
    bucket: Callable[[Any, Tensor], Any] = lambda model, features: None
    """(model, a clip's features) -> a key: clips of one key alone share a batch, as others would hear its padding."""


def extractor(processor: Any) -> Any:
    """The processor's feature extractor, by either of its names."""
    return getattr(processor, "feature_extractor", None) or processor.audio_processor


def _ask(processor: Any, prompt: Prompt, text: str) -> Inputs:
    """The inputs for `text`, the prompt in the model's own format with one placeholder for the whole clip."""
    found = text.count(processor.audio_token)
    if found != 1:
        raise ModelError(
            f"the chat template leaves {found} audio placeholders {processor.audio_token!r} in the prompt; it must "
            "leave one: use the model's own template, and no placeholder in the instruction"
        )
    bos = processor.tokenizer.bos_token
    return processor(
        text=[text],
        audio=[prompt.waveform],
        sampling_rate=prompt.rate,
        return_tensors="pt",
        add_special_tokens=not (bos and text.startswith(bos)),
    )


def instruction_of(prompt: Prompt) -> str:
    """The request of general audio LMs, which are told the language in words."""
    return f"{prompt.instruction} The language is {prompt.language}." if prompt.language else prompt.instruction


def _render(template: Any, prompt: Prompt, content: Any, instruction: str) -> str:
    """The chat template's text for one turn of the user, with the prompt's context as system prompt."""
    system = [{"role": "system", "content": prompt.context}] if prompt.context else []
    messages = [*system, {"role": "user", "content": content}]
    text = template.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    for name, value in (("context", prompt.context), ("instruction", instruction)):
        if value.strip() not in text:
            raise ModelError(f"the model's chat template leaves out the {name}, {value[:60]!r}; set {name} to nothing")
    return text


def _chat(processor: Any, prompt: Prompt) -> Inputs:
    """General audio LMs: the clip, then the instruction."""
    instruction = instruction_of(prompt)
    content = [{"type": "audio", "audio": prompt.waveform}, {"type": "text", "text": instruction}]
    return _ask(processor, prompt, _render(processor, prompt, content, instruction))


def _chat_unpadded(processor: Any, prompt: Prompt) -> Inputs:
    """As `_chat`, without the frames of silence that fill the feature extractor's window (300 s)."""
    inputs = dict(_chat(processor, prompt))
    frames = int(inputs["feature_attention_mask"].sum())
    for name in ("input_features", "feature_attention_mask"):
        inputs[name] = inputs[name][..., :frames]
    return inputs


def _qwen3_asr(processor: Any, prompt: Prompt) -> Inputs:
    """A recognizer: it takes a language and a context, no instruction."""
    silence = np.zeros(1, np.float32)
    text = processor.apply_transcription_request(
        silence, language=prompt.language, prompt=prompt.context or None, tokenize=False
    )
    return _ask(processor, prompt, text[0])


def _qwen3_asr_frame(text: str, language: str | None, prompt: Prompt) -> str:
    """The model's language tag, unless the prompt has forced the language and with it the tag."""
    if prompt.language:
        return text
    return tagged(text, LANGUAGE_CODE_TO_NAME.get((language or "").lower(), language))


def _glm_asr(processor: Any, prompt: Prompt) -> Inputs:
    """A recognizer with a request of its own, which stands for the instruction of ASR prompts."""
    if prompt.language:
        raise ModelError("GLM-ASR finds the language itself and cannot be told one; set language=auto")
    instruction = processor.default_transcription_prompt if prompt.transcribe else prompt.instruction
    content = [{"type": "audio", "audio": prompt.waveform}, {"type": "text", "text": instruction}]
    return _ask(processor, prompt, _render(processor, prompt, content, instruction))


def _granite(processor: Any, prompt: Prompt) -> Inputs:
    """The tokenizer's chat template, where the processor has none; the placeholder is part of the text."""
    instruction = instruction_of(prompt)
    template = processor if getattr(processor, "chat_template", None) else processor.tokenizer
    return _ask(processor, prompt, _render(template, prompt, processor.audio_token + instruction, instruction))


def _voxtral(processor: Any, prompt: Prompt) -> Inputs:
    """Transcription mode for plain ASR; else chat, where the context opens the user's turn (there is no system one).

    Transcription mode takes the language as an ISO 639-1 code, and hears the clip as 16-bit PCM.
    """
    if prompt.transcribe and not prompt.context:
        return processor.apply_transcription_request(
            prompt.waveform, model_id="voxtral", language=prompt.language, sampling_rate=prompt.rate, format="wav"
        )
    assert prompt.waveform is not None
    text = "\n\n".join(filter(None, (prompt.context, instruction_of(prompt))))
    clip = {"type": "audio", "base64": base64.b64encode(wav(prompt.waveform, prompt.rate)).decode()}
    return processor.apply_chat_template([{"role": "user", "content": [clip, {"type": "text", "text": text}]}])


_FLAMINGO_FRAME = re.compile(
    r"The (?:spoken content|transcription|content) of the (?:input )?audio is:?\s*([\"']?)(.*?)\1\.?", re.DOTALL
)


def _flamingo_answer(text: str, prompt: Prompt | None) -> Text:
    """'The spoken content of the audio is "hello".' -> 'hello'."""
    match = _FLAMINGO_FRAME.fullmatch(text.strip())
    return Text((match[2] if match else text).strip())


def _encode_qwen2_audio(model: Any, audio: Inputs) -> Tensor:
    """Qwen2-Audio offers no `get_audio_features`: its encoder under a mask of the clip's frames, then the projector."""
    features, tower = audio["input_features"], model.model.audio_tower
    frames, tokens = frames_after_convolutions(tower, audio["feature_attention_mask"].sum(-1))
    width = (features.shape[-1] - 2) // 2 + 1
    mask = create_bidirectional_mask(
        config=tower.config,
        inputs_embeds=features.new_zeros(len(features), width, 1),
        attention_mask=(torch.arange(width, device=features.device) < frames[:, None]).long(),
    )
    states = model.model.multi_modal_projector(tower(features, attention_mask=mask).last_hidden_state)
    return states[torch.arange(states.shape[1], device=states.device) < tokens[:, None]]


def _frames(model: Any, features: Tensor) -> int:
    """Granite's encoder does not mask: it hears padding as sound."""
    return features.shape[1]


def _first_chunk(model: Any, features: Tensor) -> int:
    """Qwen3-Omni's convolutions hear the padding of the last chunk, up to a batch's longest chunk."""
    return min(features.shape[-1], 2 * model.config.audio_config.n_window)


def _one_window(processor: Any) -> Seconds:
    return extractor(processor).chunk_length


def _whole_windows(processor: Any) -> Seconds:
    window = extractor(processor).chunk_length
    return processor.max_audio_len // window * window


_MASKED = ("input_features", "input_features_mask")
_FEATURE_MASKED = ("input_features", "feature_attention_mask")
_QWEN2_5_OMNI = Family(
    "Qwen2_5OmniThinkerForConditionalGeneration", _chat_unpadded, _FEATURE_MASKED, max_seconds=_one_window
)
_QWEN3_OMNI = Family(
    "Qwen3OmniMoeThinkerForConditionalGeneration", _chat_unpadded, _FEATURE_MASKED, bucket=_first_chunk
)

FAMILIES: dict[str, Family] = {
    "audioflamingo3": Family(
        "AudioFlamingo3ForConditionalGeneration",
        _chat,
        _MASKED,
        render=_flamingo_answer,
        max_seconds=_whole_windows,
    ),
    "glmasr": Family(
        "GlmAsrForConditionalGeneration", _glm_asr, _MASKED, max_seconds=_whole_windows, told_language=False
    ),
    "granite_speech": Family("GraniteSpeechForConditionalGeneration", _granite, bucket=_frames),
    "qwen2_audio": Family(
        "Qwen2AudioForConditionalGeneration",
        _chat,
        _FEATURE_MASKED,
        _encode_qwen2_audio,
        max_seconds=_one_window,
    ),
    "qwen2_5_omni": _QWEN2_5_OMNI,
    "qwen2_5_omni_thinker": _QWEN2_5_OMNI,
    "qwen3_asr": Family(
        "Qwen3ASRForConditionalGeneration",
        _qwen3_asr,
        _MASKED,
        render=lambda text, prompt: untagged(text, forced=bool(prompt and prompt.language)),
        may_be_framing=lambda text, prompt: not prompt.language and may_be_tag(text),
        frame=_qwen3_asr_frame,
        reads=frozenset({"context"}),
    ),
    "qwen3_omni_moe": _QWEN3_OMNI,
    "qwen3_omni_moe_thinker": _QWEN3_OMNI,
    "voxtral": Family("VoxtralForConditionalGeneration", _voxtral),
}
"""By `model_type`. Of the omni models the thinker alone is loaded, trained and saved: it hears and it writes."""
