"""A model that brings its own code: it runs only when trusted, and then shares its prefix as every other does."""

import sys

import pytest
import torch
import transformers
from causal import learn, random_completions, rescored
from helpers import audible, noise_prompts, relative_difference, take_gradients
from tiny_audio import CHAT, bytes_tokenizer, token, whisper_features

from antiphon.errors import ModelError
from antiphon.models.load import load_policy
from antiphon.models.remote_lm import RemoteAudioLM
from antiphon.rollout.engine import InProcessEngine
from antiphon.types import Prompt

SECONDS = (1.37, 0.61, 1.9)
CONFIGURATION = """
from transformers import Qwen3Config

class TinyArkConfig(Qwen3Config):
    model_type = "tiny_ark"
"""
MODELING = """
import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel, Qwen3Model
from transformers.modeling_outputs import CausalLMOutputWithPast
from .configuration_tiny_ark import TinyArkConfig

class TinyArkForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = TinyArkConfig

    def __init__(self, config):
        super().__init__(config)
        self.ear = nn.Conv1d(config.mels, config.hidden_size, 16, 16)
        self.model = Qwen3Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, audios=None,
                use_cache=None, output_hidden_states=None, **kwargs):
        embeds = self.model.embed_tokens(input_ids)
        if audios is not None:
            heard = torch.nn.functional.gelu(self.ear(audios)).transpose(1, 2).reshape(-1, embeds.shape[-1])
            embeds = embeds.masked_scatter((input_ids == self.config.audio_token_id)[..., None], heard)
        out = self.model(inputs_embeds=embeds, attention_mask=attention_mask, position_ids=position_ids,
                         past_key_values=past_key_values, use_cache=use_cache)
        hidden = out.last_hidden_state
        return CausalLMOutputWithPast(logits=self.lm_head(hidden) * self.config.head_factor,
                                      past_key_values=out.past_key_values, hidden_states=(hidden,))
"""
PROCESSING = """
import soundfile
from transformers import BatchFeature, ProcessorMixin

class TinyArkProcessor(ProcessorMixin):
    attributes = ["feature_extractor", "tokenizer"]
    feature_extractor_class = "WhisperFeatureExtractor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, feature_extractor, tokenizer, chat_template=None):
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)

    def apply_chat_template(self, conversation, add_generation_prompt=False, return_tensors=None):
        path = next(part["path"] for turn in conversation for part in turn["content"] if part["type"] == "audio")
        waveform, rate = soundfile.read(path, dtype="float32")
        features = self.feature_extractor(waveform, sampling_rate=rate, padding="longest", return_tensors="pt")
        audios = features["input_features"]
        text = super().apply_chat_template(conversation, add_generation_prompt=add_generation_prompt, tokenize=False)
        text = text.replace("<|AUDIO|>", "<|AUDIO|>" * (audios.shape[-1] // 16))
        inputs = self.tokenizer(text, return_tensors=return_tensors, return_token_type_ids=False)
        return BatchFeature({**inputs, "audios": audios})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model as its author would publish it: weights, configuration, processor, and the code of all three."""
    path = tmp_path_factory.mktemp("remote") / "tiny_ark"
    package = path.parent / "authors"
    package.mkdir()
    sources = {"configuration": CONFIGURATION, "modeling": MODELING, "processing": PROCESSING}
    for part, source in sources.items():
        (package / f"{part}_tiny_ark.py").write_text(source)
    (package / "__init__.py").touch()
    sys.path.insert(0, str(path.parent))
    try:
        from authors.configuration_tiny_ark import TinyArkConfig
        from authors.modeling_tiny_ark import TinyArkForCausalLM
        from authors.processing_tiny_ark import TinyArkProcessor
    finally:
        sys.path.remove(str(path.parent))
    TinyArkConfig.register_for_auto_class()
    TinyArkForCausalLM.register_for_auto_class("AutoModelForCausalLM")
    TinyArkProcessor.register_for_auto_class()
    tokenizer = bytes_tokenizer(None)
    config = TinyArkConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        eos_token_id=tokenizer.eos_token_id,
        audio_token_id=token("<|AUDIO|>"),
        mels=16,
        head_factor=1.0,
    )
    audible(TinyArkForCausalLM(config)).save_pretrained(path)
    TinyArkProcessor(whisper_features(), tokenizer, chat_template=CHAT).save_pretrained(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory):
    """transformers copies trusted code to a cache of modules: here, to the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        cache = str(tmp_path_factory.mktemp("modules"))
        patch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", cache)
        yield


@pytest.fixture(scope="module")
def policy(folder):
    return load_policy(str(folder), torch.device("cpu"), torch.float32, trust_remote_code=True)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return noise_prompts(SECONDS)


def test_its_code_runs_only_when_trusted(folder, policy):
    with pytest.raises(ModelError, match="if you trust its author, set trust_remote_code: true"):
        load_policy(str(folder), torch.device("cpu"), torch.float32)
    assert isinstance(policy, RemoteAudioLM)
    assert type(policy.model).__module__.startswith("transformers_modules")


@pytest.mark.parametrize("group", [1, 4])
def test_logprobs_and_gradients_equal_the_expanded_batch(policy, prompts, group):
    tokens, mask = random_completions(policy, len(prompts), group, 6)
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2)) * mask
    shared = policy.logprobs(policy.encode(prompts), tokens, mask)
    (shared * weights).sum().backward()
    shared_gradients = take_gradients(policy.model)

    rows = []
    for row in range(len(tokens)):
        inputs, size = policy.prepare(prompts[row // group]), int(mask[row].sum())
        ids = torch.cat([inputs["input_ids"], tokens[row : row + 1, :size]], 1)
        logits = policy.model(input_ids=ids, audios=inputs["audios"]).logits[0, -size - 1 : -1]
        scores = logits.masked_fill(policy.blocked, -torch.inf).log_softmax(-1)
        rows.append(scores.gather(-1, tokens[row, :size, None]).squeeze(-1))
    expanded = torch.zeros(mask.shape).masked_scatter(mask.bool(), torch.cat(rows))
    (expanded * weights).sum().backward()
    expanded_gradients = take_gradients(policy.model)

    assert "ear.weight" in shared_gradients
    assert (shared - expanded).abs().max() <= 1e-5
    assert relative_difference(shared_gradients, expanded_gradients) <= 1e-5


def test_clips_are_heard_and_a_prompt_does_not_depend_on_its_neighbours(policy, prompts):
    tokens, mask = random_completions(policy, len(prompts), 2, 5)
    together = policy.logprobs(policy.encode(prompts), tokens, mask)
    alone = policy.logprobs(policy.encode(prompts[1:2]), tokens[2:4], mask[2:4])
    assert (alone - together[2:4]).abs().max() <= 1e-5
    shuffled = policy.logprobs(policy.encode([*prompts[1:], prompts[0]]), tokens, mask)
    assert (together - shuffled).abs().amax(-1).min() > 1e-2


def test_sampling_reports_the_logprobs_that_training_computes(policy, prompts):
    for completion, difference in rescored(policy, prompts, 4, 0.8):
        assert difference <= 1e-5
        assert not policy.blocked[list(completion.token_ids)].any()


def test_greedy_equals_transformers_generate(policy, prompts):
    blocked = [[i] for i in policy.blocked.nonzero().squeeze(-1).tolist()]
    for prompt, ours in zip(prompts, InProcessEngine(policy).greedy(prompts, 8), strict=True):
        inputs = policy.prepare(prompt)
        theirs = policy.model.generate(**inputs, max_new_tokens=8, do_sample=False, bad_words_ids=blocked)
        assert tuple(theirs[0, inputs["input_ids"].shape[1] :].tolist()) == ours.token_ids


def test_saving_keeps_the_code_and_changes_no_number(policy, prompts, tmp_path):
    policy.save(tmp_path)
    assert (tmp_path / "modeling_tiny_ark.py").is_file()
    again = load_policy(str(tmp_path), torch.device("cpu"), torch.float32, trust_remote_code=True)
    before, after = (InProcessEngine(one).greedy(prompts, 6) for one in (policy, again))
    assert [one.logprobs for one in before] == [one.logprobs for one in after]


def test_a_simple_reward_rises(folder, prompts):
    student = load_policy(str(folder), torch.device("cpu"), torch.float32, trust_remote_code=True)
    means = learn(student, prompts, lambda one: sum(token < 128 for token in one.token_ids) / len(one.token_ids))
    assert means[-1] > means[0] + 0.2


def test_what_does_not_follow_the_form_is_refused(folder, tmp_path, prompts):
    path = tmp_path / "scaled"
    path.symlink_to(folder)
    policy = load_policy(str(path), torch.device("cpu"), torch.float32, trust_remote_code=True)
    with pytest.raises(ModelError, match="'silent' has no audio"):
        policy.encode([Prompt("silent", "asr", None, 16000)])
    policy.model.config.head_factor = 2.0
    with pytest.raises(ModelError, match="are not its output layer over its last hidden state"):
        policy.encode(prompts)
    policy.processor.apply_chat_template = lambda *_, **__: "text"
    with pytest.raises(ModelError, match="makes no `input_ids` and `audios`"):
        policy.encode(noise_prompts(SECONDS))
