"""Parts by name, what may be frozen, and which linear layers get adapters."""

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.models.submodules import freeze, linear_layers, parts
from antiphon.train.optimizer import MasterAdamW
from antiphon.train.trainable import make_trainable

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def qwen3(**settings) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=50, num_key_value_heads=1, head_dim=8, **SIZES, **settings))


def whisper() -> WhisperForConditionalGeneration:
    layers = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in LAYERS.items()}
    return WhisperForConditionalGeneration(WhisperConfig(vocab_size=50, d_model=16, pad_token_id=0, **layers))


LAYERS = {"layers": 1, "attention_heads": 2, "ffn_dim": 32}


def wav2vec2() -> Wav2Vec2ForCTC:
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    convolutions = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (5, 8)}
    return Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=20, **SIZES, **positions, **convolutions))


def trained(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (qwen3, {"language_model", "embeddings", "head"}),
        (whisper, {"audio_encoder", "decoder", "embeddings", "head"}),
        (wav2vec2, {"audio_encoder", "feature_encoder", "head"}),
        (
            lambda: GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=1, n_head=2)),
            {"language_model", "embeddings", "head"},
        ),
    ],
    ids=["qwen3", "whisper", "wav2vec2", "gpt2"],
)
def test_every_parameter_is_of_a_part(build, names):
    model = build()
    found = parts(model)
    assert found.keys() == names
    places = tuple(place for part in found.values() for place in part)
    assert all(name.startswith(places) for name, _ in model.named_parameters())


def test_freezing_leaves_the_rest_and_gives_no_optimizer_state():
    model = wav2vec2()
    before = trained(model)
    freeze(model, ["feature_encoder", "head"])
    gone = {name for name in before if name.startswith(("wav2vec2.feature_extractor.", "lm_head."))}
    assert trained(model) == before - gone
    assert MasterAdamW(model.named_parameters(), 1.0, (0.9, 0.9), 0.0).parameters.keys() == before - gone


def test_what_was_never_trained_stays_so():
    model = whisper()
    freeze(model, [])
    assert "model.encoder.embed_positions.weight" not in trained(model)


def test_a_decoder_includes_the_head_tied_to_its_embeddings():
    model = whisper()
    freeze(model, ["decoder"])
    assert all(name.startswith("model.encoder.") for name in trained(model))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["vision_encoder"],
            "'freeze': this Qwen3ForCausalLM has no 'vision_encoder'; its parts: embeddings, head, lang",
        ),
        (
            ["head"],
            r"embed_tokens\.weight is one weight with lm_head\.weight.*part as well \(embeddings, language_model\)",
        ),
        (["embeddings"], r"lm_head\.weight is one weight with .*part as well \(head, language_model\), or neither"),
        (["language_model"], "'freeze' leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_said(names, message):
    with pytest.raises(ConfigError, match=message):
        freeze(qwen3(tie_word_embeddings=True), names)


def test_embeddings_and_head_may_be_frozen_together_or_each_where_they_are_two():
    tied, untied = qwen3(tie_word_embeddings=True), qwen3(tie_word_embeddings=False)
    freeze(tied, ["embeddings", "head"])
    assert all(name.startswith(("model.layers.", "model.norm.")) for name in trained(tied))
    freeze(untied, ["head"])
    assert "model.embed_tokens.weight" in trained(untied)


def test_adapters_go_to_every_linear_layer_but_the_heads():
    kinds = {name.rpartition(".")[2] for name in linear_layers(qwen3())}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert not any("decoder" in name for name in linear_layers(whisper(), without=["decoder"]))
    attention = linear_layers(whisper(), ["encoder_attn.q_proj", "audio_encoder"])
    assert attention[0] == "model.decoder.layers.0.encoder_attn.q_proj"
    assert all(name.startswith("model.encoder.") for name in attention[1:])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["lora.target=[qproj]"],
            "'lora.target': no linear layer that could be adapted is of 'qproj'; there are the parts",
        ),
        (["lora.target=head"], "no linear layer that could be adapted is of 'head'"),
        (["lora.target=[]"], r"'lora\.target' in .* must be all-linear, or names of parts or layers"),
        (["lora={}", "freeze=[audio_encoder]"], "this Wav2Vec2ForCTC has no linear layer that is not frozen"),
    ],
)
def test_layers_that_are_not_there_are_said(overrides, message):
    with pytest.raises(ConfigError, match=message):
        make_trainable(wav2vec2(), load_config(overrides=overrides))


def test_in_bf16_adapters_have_fp32_masters():
    model = qwen3().to(torch.bfloat16)
    make_trainable(model, load_config(overrides=["lora={rank: 2}"]))
    optimizer = MasterAdamW(model.named_parameters(), 1e-2, (0.9, 0.9), 0.0)
    assert {parameter.dtype for parameter in optimizer.parameters.values()} == {torch.bfloat16}
    assert {master.dtype for master in optimizer.masters.values()} == {torch.float32}
    assert all("lora_" in name for name in optimizer.masters)


def test_the_seed_alone_draws_the_adapters():
    def drawn(seed: int) -> torch.Tensor:
        model, before = qwen3(), torch.get_rng_state()
        make_trainable(model, load_config(overrides=["lora={rank: 2}", f"seed={seed}"]))
        assert torch.equal(torch.get_rng_state(), before), "no global generator is drawn from"
        return torch.cat([p.flatten() for name, p in model.named_parameters() if "lora_A" in name])

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
