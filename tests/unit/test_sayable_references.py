"""Which references a model can be trained on: worded as by its own tokenizer, without tokens it may not say."""

import pytest
import tiny_text
import torch
from tiny_audio import bytes_tokenizer

from antiphon.errors import ModelError
from antiphon.models.load import load_policy
from antiphon.models.text_lm import TextLM
from antiphon.types import Completion, Prompt

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["builtin:whisper", "builtin:student", "builtin:wav2vec2"])
def policy(request):
    return load_policy(request.param, CPU, torch.float32)


@pytest.fixture(scope="module")
def whisper():
    return load_policy("builtin:whisper", CPU, torch.float32)


def asked(policy) -> Prompt:
    return Prompt("row-7", torch.zeros(policy.rate).numpy(), policy.rate)


@pytest.mark.parametrize("text", ["今天天气很好", "21 22", "ähnlich"])
def test_a_transcript_whose_space_would_be_a_token_of_its_own_is_trained_without_it(whisper, text):
    assert whisper.blocked_first[whisper.tokenizer(f" {text}", add_special_tokens=False)["input_ids"][0]]
    target = whisper.target(asked(whisper), text, "en")
    assert target == [*whisper.tokenizer(text, add_special_tokens=False)["input_ids"], whisper._own_stop()]
    rendered = whisper.render(Completion(tuple(target), (), whisper.tokenizer.decode(target[:-1]), "stop"))
    assert rendered.text == text


@pytest.mark.parametrize("text", ["", "今天", "hello"])
def test_the_loss_of_a_reference_is_finite_whatever_it_opens_with(whisper, text):
    tokens = torch.tensor([whisper.target(asked(whisper), text, "en")])
    with torch.no_grad():
        values = whisper.logprobs(whisper.encode([asked(whisper)]), tokens, torch.ones_like(tokens))
    assert values.isfinite().all()


STOPS = {
    "builtin:whisper": ["hello <|endoftext|> there", "<|endoftext|>", "a<|startoftranscript|>b"],
    "builtin:student": ["hello <|endoftext|> there", "one<|im_end|>", "<|im_start|>two"],
    "builtin:wav2vec2": ["hello <pad> there", "<s>one", "two</s>"],
}


@pytest.mark.parametrize("place", range(3))
def test_a_control_token_in_a_reference_is_refused_by_row(policy, request, place):
    text = STOPS[request.node.callspec.params["policy"]][place]
    with pytest.raises(ModelError, match="row-7"):
        policy.target(asked(policy), text, "en")


@pytest.mark.parametrize("block_tokens", [[], [7], [5, 9]])
def test_ids_beyond_the_tokenizer_are_blocked_whatever_the_recipe_blocks(block_tokens):
    tokenizer = bytes_tokenizer()
    model = tiny_text.tiny("qwen3")
    model.resize_token_embeddings(len(tokenizer) + 8)
    policy = TextLM(model, tokenizer, block_tokens)
    assert policy.blocked.nonzero().flatten().tolist() == [*block_tokens, *range(len(tokenizer), len(tokenizer) + 8)]
