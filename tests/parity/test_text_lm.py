"""Text LMs: their prompts and answers, rows of their task, and models that cannot share a prompt."""

import pytest
import torch
import transformers
from tiny_audio import CHAT, LAYERS, bytes_tokenizer
from tiny_text import tiny

from antiphon.config import load_config
from antiphon.data.check import check
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.data.stats import stats
from antiphon.errors import ConfigError, ModelError
from antiphon.models.text_lm import TextLM
from antiphon.tasks.load import prompter
from antiphon.types import Completion, Prompt


def examples_of(path, **options):
    return read_set(path, ReadOptions(**options)).require_good().examples


def test_bf16_weights_are_accepted():
    TextLM(tiny("qwen3").bfloat16(), bytes_tokenizer())
    TextLM(tiny("gemma2").bfloat16(), bytes_tokenizer())


def test_the_prompt_takes_the_chat_template_and_the_context_is_the_system_prompt():
    policy = TextLM(tiny("llama"), bytes_tokenizer(CHAT))
    ids = policy.prepare(Prompt("a", None, 0, instruction="Why?", context="Be brief."))
    assert policy.tokenizer.decode(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_chat_template_the_prompt_is_the_text_itself():
    policy = TextLM(tiny("llama"), bytes_tokenizer(None))
    plain = policy.prepare(Prompt("a", None, 0, instruction="Why?"))
    with_context = policy.prepare(Prompt("a", None, 0, instruction="Why?", context="Be brief."))
    assert policy.tokenizer.decode(plain) == "Why?"
    assert policy.tokenizer.decode(with_context) == "Be brief.\nWhy?"


def test_prompts_that_it_cannot_read_are_named():
    policy = TextLM(tiny("llama"), bytes_tokenizer(None))
    with pytest.raises(ModelError, match="'a' has audio, which a text model cannot process"):
        policy.encode([Prompt("a", torch.zeros(160).numpy(), 16000)])
    with pytest.raises(ModelError, match="'b' takes 600 tokens, but this model has 512 positions"):
        policy.encode([Prompt("b", None, 0, instruction="x" * 600)])
    with pytest.raises(ModelError, match="'c' is empty"):
        policy.encode([Prompt("c", None, 0)])


def test_models_that_share_no_keys_and_values_are_refused():
    mamba = transformers.MambaConfig(vocab_size=300, hidden_size=16, state_size=4, num_hidden_layers=1)
    with pytest.raises(ModelError, match="MambaForCausalLM keeps a state that is not keys and values"):
        TextLM(transformers.MambaForCausalLM(mamba), bytes_tokenizer())
    lfm = transformers.Lfm2Config(
        vocab_size=300, **LAYERS, num_key_value_heads=2, layer_types=["conv", "full_attention"], eos_token_id=1
    )
    with pytest.raises(ModelError, match=r"keeps a state .* \(conv\)"):
        TextLM(transformers.Lfm2ForCausalLM(lfm), bytes_tokenizer())


def test_a_head_that_is_not_followed_is_refused(monkeypatch):
    model = tiny("llama")
    own = model.forward
    monkeypatch.setattr(
        model, "forward", lambda **inputs: transformers.utils.ModelOutput(logits=2 * own(**inputs).logits)
    )
    with pytest.raises(ModelError, match="LlamaForCausalLM computes its logits in a way that antiphon does not follow"):
        TextLM(model, bytes_tokenizer())


def test_thoughts_are_no_part_of_an_answer():
    policy = TextLM(tiny("llama"), bytes_tokenizer())

    def answer(text: str) -> str:
        return policy.render(Completion((), (), text, "stop")).text

    assert answer("<think>\nIt is late.\n</think>\n\nNight. ") == "Night."
    assert answer("so I say </think>yes") == "yes"
    assert answer("<think> on and on") == ""
    assert answer(" plain ") == "plain"


def test_rows_of_the_text_task_become_prompts_without_audio(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"prompt": "2+2?", "text": "4"}\n{"prompt": "Hi", "text": "", "id": 7}\n')
    examples = examples_of(path, task="text")
    make = prompter(load_config(overrides=["task=text", "context=Be brief."]), rate=0)
    first, second = (make(example) for example in examples)
    assert (first.instruction, first.context, first.waveform, examples[0].text) == ("2+2?", "Be brief.", None, "4")
    assert (second.id, second.instruction) == ("7", "Hi")
    assert check(path).good == 0  # without a task, rows are of speech
    assert (check(path, ReadOptions(task="text")).good, stats(path, ReadOptions(task="text")).utterances) == (2, 2)
    path.write_text('{"task": "text", "prompt": "2+2?", "text": "4"}\n')
    assert (check(path).good, stats(path).utterances) == (1, 1)


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        (['{"text": "4"}'], 1, 'a row of task "text" needs a "prompt"'),
        (['{"text": "4", "prompt": "  "}'], 1, 'a row of task "text" needs a "prompt"'),
        (['{"text": "4", "prompt": "a"}', '{"text": "5", "prompt": "a"}'], 2, 'the same prompt as line 1, and no "id"'),
        (['{"text": "4", "prompt": "a", "task": "asr"}'], 1, 'the row has no "audio"'),
    ],
)
def test_bad_rows_of_the_text_task_are_named(tmp_path, rows, line, reason):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(rows))
    (bad,) = read_set(path, ReadOptions(task="text")).bad
    assert (bad.line, bad.reason[: len(reason)]) == (line, reason)


def test_a_model_that_hears_nothing_is_not_given_speech():
    with pytest.raises(ConfigError, match="task asr has audio prompts, but the model takes only text; set task=text"):
        prompter(load_config(), rate=0)
