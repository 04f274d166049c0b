"""Text LMs of several kinds: a shared prompt equals the expanded batch; models that cannot share are refused."""

import copy

import pytest
import torch
import transformers
from causal import expanded_logprobs, learn, random_completions, rescored
from helpers import audible, relative_difference, take_gradients
from tiny_audio import CHAT, LAYERS, bytes_tokenizer

from antiphon.config import load_config
from antiphon.data.check import check
from antiphon.data.jsonl import load_jsonl, read_jsonl
from antiphon.data.stats import stats
from antiphon.errors import ConfigError, ModelError
from antiphon.models.load import load_policy
from antiphon.models.text_lm import TextLM
from antiphon.rollout.engine import InProcessEngine
from antiphon.tasks.load import prompter
from antiphon.types import Prompt

TEXTS = ("Why?", "Name a colour of the sky at night.", "Count to three, please")
CONFIGS = {
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "llama": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 8, "num_key_value_heads": 2},
    "gemma2": {"sliding_window": 8, "num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 3.0},
    "granite": {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5},
    "cohere": {"logit_scale": 0.25},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
}


def tiny(model_type: str, **more) -> transformers.PreTrainedModel:
    tokenizer = bytes_tokenizer()
    sizes = {} if model_type == "gpt2" else {**LAYERS, "max_position_embeddings": 512}
    ids = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": None}
    config = transformers.AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **sizes, **ids, **more)
    return audible(transformers.AutoModelForCausalLM.from_config(config))


@pytest.fixture(scope="module", params=CONFIGS)
def policy(request) -> TextLM:
    return TextLM(tiny(request.param, **CONFIGS[request.param]), bytes_tokenizer())


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return [Prompt(f"p{i}", "text", None, 0, instruction=text) for i, text in enumerate(TEXTS)]


def own_inputs(policy, prompt: Prompt):
    chat = [{"role": "user", "content": prompt.instruction}]
    return policy.tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True, return_token_type_ids=False
    )


@pytest.mark.parametrize(("group", "temperature"), [(1, 1.0), (4, 0.7), (16, 1.0)])
def test_logprobs_and_gradients_equal_the_expanded_batch(policy, prompts, group, temperature):
    tokens, mask = random_completions(policy, len(prompts), group, 12)
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2)) * mask

    shared = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    (shared * weights).sum().backward()
    shared_gradients = take_gradients(policy.model)

    inputs = [own_inputs(policy, prompt) for prompt in prompts]
    expanded = expanded_logprobs(policy, inputs, tokens, mask, temperature)
    (expanded * weights).sum().backward()
    expanded_gradients = take_gradients(policy.model)

    assert (shared - expanded).abs().max() <= 1e-5
    assert relative_difference(shared_gradients, expanded_gradients) <= 1e-5


def test_a_prompt_alone_and_in_a_batch_gives_the_same_numbers(policy, prompts):
    tokens, mask = random_completions(policy, len(prompts), 2, 5)
    together = policy.logprobs(policy.encode(prompts), tokens, mask)
    for i, prompt in enumerate(prompts):
        rows = slice(2 * i, 2 * i + 2)
        alone = policy.logprobs(policy.encode([prompt]), tokens[rows], mask[rows])
        assert (alone - together[rows]).abs().max() <= 1e-5


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_reports_the_logprobs_that_training_computes(policy, prompts, temperature):
    for completion, difference in rescored(policy, prompts, 4, temperature):
        assert difference <= 1e-5
        assert not policy.blocked[list(completion.token_ids)].any()


def test_greedy_equals_transformers_generate(policy, prompts):
    blocked = [[i] for i in policy.blocked.nonzero().squeeze(-1).tolist()]
    for prompt, ours in zip(prompts, InProcessEngine(policy).greedy(prompts, 12), strict=True):
        inputs = own_inputs(policy, prompt)
        theirs = policy.model.generate(
            **inputs, max_new_tokens=12, do_sample=False, bad_words_ids=blocked, eos_token_id=sorted(policy.stop_ids)
        )
        assert tuple(theirs[0, inputs["input_ids"].shape[1] :].tolist()) == ours.token_ids


def test_saving_and_loading_changes_no_number(policy, prompts, tmp_path):
    policy.save(tmp_path)
    again = load_policy(str(tmp_path), torch.device("cpu"), torch.float32)
    assert isinstance(again, TextLM)
    before, after = (InProcessEngine(one).greedy(prompts, 6) for one in (policy, again))
    assert [one.logprobs for one in before] == [one.logprobs for one in after]


def test_a_simple_reward_rises_and_every_weight_learns(prompts):
    student = TextLM(tiny("qwen3", **CONFIGS["qwen3"]), bytes_tokenizer())
    before = copy.deepcopy(student.model.state_dict())
    means = learn(student, prompts, lambda one: sum(token < 128 for token in one.token_ids) / len(one.token_ids))
    assert means[-1] > means[0] + 0.2
    assert not any(weight.equal(before[name]) for name, weight in student.model.named_parameters())


def test_bf16_weights_are_accepted():
    TextLM(tiny("qwen3", **CONFIGS["qwen3"]).bfloat16(), bytes_tokenizer())
    TextLM(tiny("gemma2", **CONFIGS["gemma2"]).bfloat16(), bytes_tokenizer())


def test_the_prompt_takes_the_chat_template_and_the_context_is_the_system_prompt():
    policy = TextLM(tiny("llama"), bytes_tokenizer(CHAT))
    ids = policy.prepare(Prompt("a", "text", None, 0, instruction="Why?", context="Be brief."))
    assert policy.tokenizer.decode(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_chat_template_the_prompt_is_the_text_itself():
    policy = TextLM(tiny("llama"), bytes_tokenizer(None))
    plain = policy.prepare(Prompt("a", "text", None, 0, instruction="Why?"))
    with_context = policy.prepare(Prompt("a", "text", None, 0, instruction="Why?", context="Be brief."))
    assert policy.tokenizer.decode(plain) == "Why?"
    assert policy.tokenizer.decode(with_context) == "Be brief.\nWhy?"


def test_prompts_that_it_cannot_read_are_named():
    policy = TextLM(tiny("llama"), bytes_tokenizer(None))
    with pytest.raises(ModelError, match="'a' has audio, which a text model cannot hear"):
        policy.encode([Prompt("a", "asr", torch.zeros(160).numpy(), 16000)])
    with pytest.raises(ModelError, match="'b' takes 600 tokens and this model has 512 positions"):
        policy.encode([Prompt("b", "text", None, 0, instruction="x" * 600)])
    with pytest.raises(ModelError, match="'c' is empty"):
        policy.encode([Prompt("c", "text", None, 0)])


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
    answer = TextLM(tiny("llama"), bytes_tokenizer()).answer
    assert answer("<think>\nIt is late.\n</think>\n\nNight. ") == "Night."
    assert answer("so I say </think>yes") == "yes"
    assert answer("<think> on and on") == ""
    assert answer(" plain ") == "plain"


def test_rows_of_the_text_task_become_prompts_without_audio(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"prompt": "2+2?", "text": "4"}\n{"prompt": "Hi", "text": "", "id": 7}\n')
    examples = load_jsonl(path, default_task="text")
    make = prompter(load_config(overrides=["task=text", "context=Be brief."]), rate=0)
    first, second = (make(example) for example in examples)
    assert (first.instruction, first.context, first.waveform, examples[0].text) == ("2+2?", "Be brief.", None, "4")
    assert (second.id, second.instruction) == ("7", "Hi")
    assert check(path).good == 0  # without a task, rows are of speech
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
    (bad,) = read_jsonl(path, default_task="text").bad
    assert (bad.line, bad.reason[: len(reason)]) == (line, reason)


def test_a_model_that_hears_nothing_is_not_given_speech():
    with pytest.raises(ConfigError, match="the model hears no audio, which task asr is about; set task=text"):
        prompter(load_config(), rate=0)
