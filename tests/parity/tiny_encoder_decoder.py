"""Tiny random encoder-decoders, with processors built offline from their own classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from helpers import audible, noise_prompts
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    CohereAsrConfig,
    CohereAsrFeatureExtractor,
    CohereAsrForConditionalGeneration,
    CohereAsrProcessor,
    GenerationConfig,
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    PreTrainedTokenizerFast,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from antiphon.models.encoder_decoder import EncoderDecoder
from antiphon.types import Prompt

POSITIONS = 40
WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]
WHISPER_TOKENS = ["endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "startofprev"]
COHERE_TOKENS = ["startofcontext", "startoftranscript", "emo:undefined", "en", "de", "pnc", "noitn", "notimestamp"]


def whisper() -> EncoderDecoder:
    letters = {word: i for i, word in enumerate(["Ġ", *WORDS, *(f"Ġ{word}" for word in WORDS)])}
    tokenizer = WhisperTokenizer(letters, [("Ġ", word) for word in WORDS])
    tokenizer.add_tokens([f"<|{name}|>" for name in (*WHISPER_TOKENS, "notimestamps")], special_tokens=True)
    tokenizer.add_tokens(["<|0.00|>", "<|0.02|>"])
    token = tokenizer.convert_tokens_to_ids
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=32,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=150,
        max_target_positions=POSITIONS,
        decoder_start_token_id=token("<|startoftranscript|>"),
        eos_token_id=token("<|endoftext|>"),
        pad_token_id=token("<|endoftext|>"),
        bos_token_id=token("<|endoftext|>"),
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=token("<|startoftranscript|>"),
        eos_token_id=token("<|endoftext|>"),
        pad_token_id=token("<|endoftext|>"),
        suppress_tokens=[token("a"), token("<|startofprev|>")],
        begin_suppress_tokens=[token("Ġ"), token("<|endoftext|>")],
        no_timestamps_token_id=token("<|notimestamps|>"),
        is_multilingual=True,
        lang_to_id={name: token(name) for name in ("<|en|>", "<|de|>")},
        task_to_id={name: token(f"<|{name}|>") for name in ("translate", "transcribe")},
    )
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=3)
    return EncoderDecoder(attentive(model), WhisperProcessor(extractor, tokenizer))


def word_tokenizer(special: list[str], **names: str) -> PreTrainedTokenizerFast:
    """Every word is a token; `names` are the framework's own names for special tokens."""
    vocabulary = {token: i for i, token in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=special[0]))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=special[0], **names)
    wrapped.add_special_tokens({"additional_special_tokens": special})
    return wrapped


def moonshine() -> EncoderDecoder:
    tokenizer = word_tokenizer(["<unk>", "<s>", "</s>"], bos_token="<s>", eos_token="</s>", pad_token="</s>")
    config = MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=4,
        decoder_num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        pad_head_dim_to_multiple_of=16,
        pad_token_id=2,
    )
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    processor = Wav2Vec2Processor(extractor, tokenizer)
    return EncoderDecoder(attentive(MoonshineForConditionalGeneration(config)), processor)


def cohere_asr() -> EncoderDecoder:
    special = ["<unk>", "▁", "<pad>", "</s>", *(f"<|{name}|>" for name in (*COHERE_TOKENS, "nodiarize"))]
    tokenizer = word_tokenizer(special, eos_token="</s>", pad_token="<pad>")
    config = CohereAsrConfig(
        encoder_config={
            "model_type": "parakeet_encoder",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "subsampling_conv_channels": 8,
            "num_mel_bins": 16,
        },
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("▁"),
        pad_token_id=2,
        eos_token_id=3,
    )
    processor = CohereAsrProcessor(CohereAsrFeatureExtractor(feature_size=16), tokenizer)
    return EncoderDecoder(attentive(CohereAsrForConditionalGeneration(config)), processor)


def attentive(model: Any) -> Any:
    """Audible, and with cross-attention that outweighs what the decoder makes of its own tokens."""
    for layer in audible(model).get_decoder().layers:
        attention = layer.encoder_attn
        (attention.out_proj if hasattr(attention, "out_proj") else attention.o_proj).weight.data *= 4
    return model


BUILDERS = {"whisper": whisper, "moonshine": moonshine, "cohere_asr": cohere_asr}
DECODER_PROMPTS = {
    "whisper": "<|startoftranscript|> <|en|> <|transcribe|> <|notimestamps|>",
    "moonshine": "<s>",
    "cohere_asr": "▁ <|startofcontext|> <|startoftranscript|> <|emo:undefined|> <|en|> <|en|> <|pnc|> <|noitn|> "
    "<|notimestamp|> <|nodiarize|>",
}


def decoder_prompt(policy: EncoderDecoder) -> list[int]:
    """What the decoder is to be prompted with for a clip in English, written by hand."""
    return policy.tokenizer.convert_tokens_to_ids(DECODER_PROMPTS[policy.model.config.model_type].split())


def english_prompts() -> list[Prompt]:
    prompts = noise_prompts((1.37, 0.61, 2.903))
    return [replace(prompt, language="en") for prompt in prompts]


def heard(policy: EncoderDecoder, prompt: Prompt) -> dict[str, torch.Tensor]:
    """One clip as the feature extractor alone makes it."""
    inputs = policy.processor.feature_extractor(prompt.waveform, sampling_rate=16000, return_tensors="pt")
    return {name: inputs[name] for name in ("input_features", "input_values", "attention_mask") if name in inputs}


def completions(group: int, length: int, policy: EncoderDecoder) -> tuple[torch.Tensor, torch.Tensor]:
    """Random completions of unequal length that the policy could have sampled."""
    generator = torch.Generator().manual_seed(1)
    allowed = (~policy.blocked_first).nonzero().squeeze(-1)
    rows = len(english_prompts()) * group
    tokens = allowed[torch.randint(len(allowed), (rows, length), generator=generator)]
    lengths = torch.randint(1, length + 1, (rows,), generator=generator)
    mask = (torch.arange(length) < lengths[:, None]).float()
    return tokens * mask.long(), mask
