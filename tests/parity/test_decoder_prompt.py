"""What each decoder is asked before it answers, and what may not be answered or asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_encoder_decoder import (
    BUILDERS,
    DECODER_PROMPTS,
    cohere_asr,
    completions,
    english_prompts,
    heard,
    moonshine,
    whisper,
)

from antiphon.errors import ModelError
from antiphon.models.encoder_decoder import EncoderDecoder
from antiphon.models.policy import Sampling
from antiphon.types import Prompt


@pytest.fixture(scope="module")
def prompts():
    return english_prompts()


def asked(policy: EncoderDecoder, prompts: list[Prompt]) -> list[str]:
    """What the decoder is prompted with, as it sees it."""
    calls = []
    handle = policy.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    with torch.no_grad():
        policy.encode(prompts)
    handle.remove()
    rows = zip(calls[-1]["input_ids"], calls[-1]["attention_mask"].bool(), strict=True)
    return [" ".join(policy.tokenizer.convert_ids_to_tokens(row[mask])) for row, mask in rows]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_decoder_is_prompted_as_its_own_generate_would(name, prompts):
    assert asked(BUILDERS[name](), prompts) == [DECODER_PROMPTS[name]] * 3


def test_whisper_finds_the_language_that_transformers_finds_and_keeps_to_it(prompts):
    policy = whisper()
    unknown = [replace(prompt, language=None) for prompt in prompts]
    theirs = policy.model.detect_language(torch.cat([heard(policy, prompt)["input_features"] for prompt in unknown]))
    mixed = asked(policy, [prompts[0], *unknown])
    found = [row.split()[1] for row in mixed[1:]]
    assert found == policy.tokenizer.convert_ids_to_tokens(theirs)
    assert mixed[0].split()[1] == "<|en|>"

    policy.head.weight.data[:] *= -1  # other weights, other language; the same prompts, the same question
    again = [replace(prompt) for prompt in unknown]
    assert [row.split()[1] for row in asked(policy, unknown)] == found
    assert [row.split()[1] for row in asked(policy, again)] != found


def test_whisper_is_told_context_language_and_task(prompts):
    policy = whisper()
    plain, told = prompts[0], replace(prompts[1], language="German", context="c d")
    end = "<|transcribe|> <|notimestamps|>"
    start = "<|startoftranscript|>"
    assert asked(policy, [plain, told]) == [
        f"{start} <|en|> {end}",
        f"<|startofprev|> Ġc Ġd {start} <|de|> {end}",
    ]
    tokens, mask = completions(2, 4, policy)
    together = policy.logprobs(policy.encode([plain, told]), tokens[:4], mask[:4])
    alone = torch.cat(
        [policy.logprobs(policy.encode([p]), tokens[r], mask[r]) for p, r in ((plain, slice(2)), (told, slice(2, 4)))]
    )
    assert (together - alone).abs().max() <= 1e-5

    policy.model.generation_config.task, policy.model.generation_config.language = "translate", "de"
    assert asked(policy, [replace(plain, language=None)]) == [f"{start} <|de|> <|translate|> <|notimestamps|>"]


def test_an_english_only_whisper_is_asked_for_no_language(prompts):
    policy = whisper()
    policy.model.generation_config.is_multilingual = False
    del policy.model.generation_config.lang_to_id
    prompt = "<|startoftranscript|> <|notimestamps|>"
    assert policy.language == "en"
    assert whisper().language is None
    assert asked(policy, [prompts[0], replace(prompts[1], language=None)]) == [prompt, prompt]
    with pytest.raises(ModelError, match="'p2' is in 'de', but this Whisper supports only English"):
        policy.encode([replace(prompts[2], language="de")])


def test_suppressed_tokens_are_impossible_and_those_that_may_not_begin_only_at_the_beginning(prompts):
    policy = whisper()
    token = policy.tokenizer.convert_tokens_to_ids

    def second_and_first(name: str) -> tuple[float, float]:
        tokens = torch.tensor([[token("b"), token(name)], [token(name), token("b")]])
        values = policy.logprobs(policy.encode(prompts[:1]), tokens, torch.ones(2, 2))
        return float(values[0, 1]), float(values[1, 0])

    with torch.no_grad():
        for name in ("a", "<|0.00|>", "<|0.02|>", "<|en|>"):
            assert second_and_first(name) == (-np.inf, -np.inf)
        # A reference may open with those that no sample opens with, so that its loss is finite.
        for name in ("Ġ", "<|endoftext|>"):
            assert np.isfinite(second_and_first(name)).all()
            drawn = policy.sample(policy.encode(prompts[:1]), 50, Sampling(2.0, 1), np.random.rand(50, 1))[0]
            assert token(name) not in {completion.token_ids[0] for completion in drawn}
        assert np.isfinite(second_and_first("c")).all()


SILENCE = np.zeros(16000, np.float32)
ERRORS = {
    "a clip longer than Whisper's window": (whisper, {"waveform": np.zeros(3 * 16000 + 1, np.float32)}, "at most 3 s"),
    "a language that Whisper does not know": (whisper, {"language": "fr"}, "'fr'.*it supports de, en"),
    "no audio": (whisper, {"waveform": None}, "no audio"),
    "a context with special tokens": (whisper, {"context": "<|en|>"}, "context that Whisper cannot take"),
    "a clip too short for Moonshine": (moonshine, {"waveform": SILENCE[:894]}, "0.056 s of audio, too little"),
    "a context for Moonshine": (moonshine, {"context": "hot words"}, "no place"),
    "a clip longer than Cohere's": (cohere_asr, {"waveform": np.zeros(36 * 16000, np.float32)}, "at most 35 s"),
    "a clip too short for Cohere": (cohere_asr, {"waveform": SILENCE[:160]}, "too little"),
    "no language for Cohere": (cohere_asr, {"language": None}, "set language=given"),
    "a language that Cohere does not know": (cohere_asr, {"language": "sv"}, "'sv'.*it supports ar, de"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_a_model_cannot_be_asked_is_refused_by_name(name):
    build, changes, message = ERRORS[name]
    prompt = replace(Prompt("p7", SILENCE, 16000, language="en"), **changes)
    with pytest.raises(ModelError, match=message) as error:
        build().encode([prompt])
    assert "'p7'" in str(error.value)


def test_a_whisper_without_its_generation_config_is_refused(prompts):
    policy = whisper()
    del policy.model.generation_config.lang_to_id
    del policy.model.generation_config.is_multilingual
    with pytest.raises(ModelError, match="names no languages"):
        policy.encode(prompts)
