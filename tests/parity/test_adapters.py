"""An adapter of each kind of model, saved and loaded: the same numbers here, in peft, and merged."""

import peft
import pytest
import tiny_ctc
import tiny_encoder_decoder
import tiny_text
import torch
from helpers import audible, noise_prompts
from tiny_audio import bytes_tokenizer

from antiphon.models import lora
from antiphon.models.ctc import CTC
from antiphon.models.load import load_policy
from antiphon.models.submodules import linear_layers
from antiphon.models.text_lm import TextLM

CPU = torch.device("cpu")


def whisper(folder):
    return tiny_encoder_decoder.whisper(), tiny_encoder_decoder.english_prompts()


def wav2vec2(folder):
    model, processor = tiny_ctc.wav2vec2_layer(folder)
    return CTC(audible(model), processor), noise_prompts((0.41, 0.2))


def qwen3(folder):
    return TextLM(tiny_text.tiny("qwen3"), bytes_tokenizer()), tiny_text.prompts()


@pytest.mark.parametrize("build", [whisper, wav2vec2, qwen3])
def test_an_adapter_saved_and_loaded_gives_the_same_numbers(build, tmp_path):
    policy, prompts = build(tmp_path)
    tokens = torch.tensor([[9, 10, 11]] * len(prompts))

    @torch.no_grad()
    def values(policy) -> torch.Tensor:
        return policy.logprobs(policy.encode(prompts), tokens, torch.ones(tokens.shape), 1.0)

    policy.save(tmp_path / "base")
    policy = load_policy(str(tmp_path / "base"), CPU, torch.float32)
    before = values(policy)
    lora.add_adapter(policy.model, linear_layers(policy.model), rank=2, alpha=2, seed=0)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ours = values(policy)
    assert (ours - before).abs().max() > 1e-3
    policy.save(tmp_path / "adapter")
    with lora.merged(policy.model):
        policy.save(tmp_path / "merged")
    assert torch.equal(values(policy), ours)
    assert torch.equal(values(load_policy(str(tmp_path / "adapter"), CPU, torch.float32)), ours)
    assert (values(load_policy(str(tmp_path / "merged"), CPU, torch.float32)) - ours).abs().max() <= 1e-5

    wrapped = load_policy(str(tmp_path / "base"), CPU, torch.float32)
    peft.PeftModel.from_pretrained(wrapped.model, str(tmp_path / "adapter"))
    assert torch.equal(values(wrapped), ours)
