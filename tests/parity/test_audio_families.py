"""Every audio-prefix architecture, from raw waveforms: a shared prefix equals transformers' own expanded batch."""

import copy
from dataclasses import replace

import pytest
import tiny_audio
import torch
import transformers
from causal import expanded_logprobs, learn, random_completions, rescored
from helpers import audible, noise_prompts, relative_difference, take_gradients

from antiphon.errors import ModelError
from antiphon.models.audio_families import FAMILIES
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.load import load_policy
from antiphon.rollout.engine import InProcessEngine
from antiphon.types import Prompt

SECONDS = (1.37, 0.61, 2.903)
ARCHITECTURES = (
    "audioflamingo3",
    "glmasr",
    "granite_speech",
    "qwen2_audio",
    "qwen2_5_omni_thinker",
    "qwen3_omni_moe_thinker",
    "voxtral",
)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def policy(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        tiny_audio.without_torchaudio(patch)
        build = getattr(tiny_audio, request.param)
        model, processor = build(tmp_path_factory.mktemp("voxtral")) if request.param == "voxtral" else build()
        yield AudioPrefixLM(biased(audible(model)), processor)


def biased(model):
    """No bias left at zero: padding that an encoder fails to mask is then heard, and moves the numbers."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return [replace(prompt, instruction="Write it down.") for prompt in noise_prompts(SECONDS)]


def own_inputs(policy, prompt: Prompt) -> dict[str, torch.Tensor]:
    """What the model's own processor makes of the prompt, by the one call that its documentation shows."""
    processor, kind = policy.processor, policy.model.config.model_type
    if kind == "voxtral":
        return processor.apply_transcription_request(
            prompt.waveform, model_id="any", sampling_rate=16000, format="wav", language=prompt.language
        )
    if kind == "glmasr":
        return processor.apply_transcription_request([prompt.waveform])
    if kind == "granite_speech":
        chat = [{"role": "user", "content": f"{processor.audio_token}{prompt.instruction}"}]
        text = processor.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return processor(text=[text], audio=[prompt.waveform], return_tensors="pt")
    content = [{"type": "audio", "audio": prompt.waveform}, {"type": "text", "text": prompt.instruction}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
        return_tensors="pt",
    )


@pytest.mark.parametrize(("group", "temperature"), [(1, 1.0), (4, 0.7), (16, 1.0)])
def test_logprobs_and_gradients_equal_the_expanded_batch(policy, prompts, group, temperature):
    tokens, mask = random_completions(policy, len(prompts), group, 6)
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


def test_a_clip_alone_and_in_a_batch_gives_the_same_numbers(policy, prompts):
    tokens, mask = random_completions(policy, len(prompts), 2, 5)
    together = policy.logprobs(policy.encode(prompts), tokens, mask)
    for i, prompt in enumerate(prompts):
        rows = slice(2 * i, 2 * i + 2)
        alone = policy.logprobs(policy.encode([prompt]), tokens[rows], mask[rows])
        assert (alone - together[rows]).abs().max() <= 1e-5


def test_clips_are_heard(policy, prompts):
    tokens, mask = random_completions(policy, len(prompts), 2, 5)
    heard = policy.logprobs(policy.encode(prompts), tokens, mask)
    clips = [prompt.waveform for prompt in (*prompts[1:], prompts[0])]
    others = [replace(prompt, waveform=clip) for prompt, clip in zip(prompts, clips, strict=True)]
    shuffled = policy.logprobs(policy.encode(others), tokens, mask)
    assert (heard - shuffled).abs().amax(-1).min() > 1e-2


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_reports_the_logprobs_that_training_computes(policy, prompts, temperature):
    for completion, difference in rescored(policy, prompts, 4, temperature):
        assert difference <= 1e-5
        assert not policy.blocked[list(completion.token_ids)].any()
        assert completion.finish_reason == ("stop" if completion.token_ids[-1] in policy.stop_ids else "length")


def test_greedy_equals_transformers_generate(policy, prompts):
    blocked = [[i] for i in policy.blocked.nonzero().squeeze(-1).tolist()]
    for prompt, ours in zip(prompts, InProcessEngine(policy).greedy(prompts, 8), strict=True):
        inputs = own_inputs(policy, prompt)
        theirs = policy.model.generate(
            **inputs, max_new_tokens=8, do_sample=False, bad_words_ids=blocked, eos_token_id=sorted(policy.stop_ids)
        )
        assert tuple(theirs[0, inputs["input_ids"].shape[1] :].tolist()) == ours.token_ids


def test_a_simple_reward_rises_and_every_part_that_is_used_learns(policy, prompts):
    student = AudioPrefixLM(copy.deepcopy(policy.model), policy.processor)
    before = {name: weight.clone() for name, weight in student.model.named_parameters()}

    def early_letters(completion) -> float:
        return sum(token < 128 for token in completion.token_ids) / len(completion.token_ids)

    means = learn(student, prompts, early_letters)
    assert means[-1] > means[0] + 0.2
    moved = {name for name, weight in student.model.named_parameters() if not weight.equal(before[name])}
    parts = {".".join(name.split(".")[:2]) for name in before}
    assert {".".join(name.split(".")[:2]) for name in moved} == parts - {"model.visual"}


def test_saving_and_loading_changes_no_number(policy, prompts, tmp_path):
    if "omni" in policy.model.config.model_type or isinstance(policy.processor, tiny_audio.Transcriber):
        # A whole omni processor needs torchvision, Voxtral's mistral-common.
        policy.model.save_pretrained(tmp_path)
        architecture = getattr(transformers, policy.family.architecture)
        again = AudioPrefixLM(architecture.from_pretrained(tmp_path, dtype=torch.float32), policy.processor)
    else:
        policy.save(tmp_path)
        again = load_policy(str(tmp_path), torch.device("cpu"), torch.float32)
        again.processor.audio_kwargs = policy.processor.audio_kwargs  # Voxtral's test windows are its object's own
    before, after = (InProcessEngine(one).greedy(prompts, 6) for one in (policy, again))
    assert [one.logprobs for one in before] == [one.logprobs for one in after]


def test_a_language_and_a_context_reach_the_model_or_are_refused(policy, prompts):
    if isinstance(policy.processor, tiny_audio.Transcriber):
        pytest.skip("Voxtral's chat needs mistral-common")
    plain = policy.prepare(prompts[0])["input_ids"]
    for change in ({"language": "en"}, {"context": "At sea."}):
        asked = replace(prompts[0], **change)
        if policy.model.config.model_type == "glmasr" and "language" in change:
            with pytest.raises(ModelError, match="cannot be told"):
                policy.prepare(asked)
            continue
        ids = policy.prepare(asked)["input_ids"]
        assert next(iter(change.values())) in policy.tokenizer.decode(ids)
        assert len(ids) > len(plain)


def test_audio_that_the_processor_would_cut_is_refused(policy, prompts):
    limit = policy.family.max_seconds(policy.processor)
    if limit == float("inf"):
        pytest.skip("this processor cuts nothing")
    with pytest.raises(ModelError, match=f"hears the first {limit:g} s at most"):
        policy.encode(noise_prompts([limit + 0.01]))
    policy.encode([replace(prompt, instruction="Go.") for prompt in noise_prompts([limit])])


def test_a_clip_too_short_to_hear_is_named(policy):
    if policy.model.config.model_type == "voxtral":
        pytest.skip("Voxtral hears whole windows, silence included")
    with pytest.raises(ModelError, match="'p0'"):
        policy.encode([replace(prompt, instruction="Go.") for prompt in noise_prompts([0.0005])])


@pytest.fixture(scope="module", params=["qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"])
def omni(request):
    model, processor = getattr(tiny_audio, request.param)()
    return AudioPrefixLM(model, processor)


def test_without_images_the_rotary_positions_of_omni_models_are_plain(omni, prompts):
    """So positions counted from the mask are those of the model's own `get_rope_index`, on all three axes."""
    inputs = [own_inputs(omni, prompt) for prompt in prompts]
    lengths = [len(one["input_ids"][0]) for one in inputs]
    ids = torch.zeros(len(inputs), max(lengths), dtype=torch.long)
    for row, one, length in zip(ids, inputs, lengths, strict=True):
        row[len(row) - length :] = one["input_ids"][0]
    mask = torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]
    frames = torch.tensor([int(one["feature_attention_mask"].sum()) for one in inputs])
    positions, deltas = omni.model.model.get_rope_index(ids, attention_mask=mask.long(), audio_seqlens=frames)
    assert (positions == mask.cumsum(-1) - 1)[:, mask].all()
    assert (deltas == 0).all()


@pytest.mark.parametrize("name", ["Qwen2_5Omni", "Qwen3OmniMoe"])
def test_the_thinker_is_loaded_from_a_whole_omni_model(name, tmp_path):
    build = {"Qwen2_5Omni": tiny_audio.qwen2_5_omni_thinker, "Qwen3OmniMoe": tiny_audio.qwen3_omni_moe_thinker}
    thinker = build[name]()[0]
    config = getattr(transformers, f"{name}Config")(thinker_config=thinker.config.to_dict(), enable_audio_output=False)
    whole = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    whole.save_pretrained(tmp_path)
    architecture = FAMILIES[transformers.AutoConfig.from_pretrained(tmp_path).model_type].architecture
    loaded = getattr(transformers, architecture).from_pretrained(tmp_path)
    assert loaded.config.model_type in FAMILIES
    expected = whole.thinker.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(weight.equal(expected[key]) for key, weight in loaded.state_dict().items())


def test_an_adapter_that_was_not_loaded_is_missed(monkeypatch):
    tiny_audio.without_torchaudio(monkeypatch)
    model, processor = tiny_audio.granite_speech()
    model.config.has_lora_adapter = True
    with pytest.raises(ModelError, match="install peft"):
        AudioPrefixLM(model, processor)


def test_a_processor_of_another_model_is_told_by_its_token_count(prompts):
    model, processor = tiny_audio.qwen3_omni_moe_thinker()
    processor.n_window = 25
    with pytest.raises(ModelError, match="do not belong together"):
        AudioPrefixLM(model, processor).encode(prompts)


def test_a_template_that_loses_the_placeholder_or_the_context_is_refused(prompts):
    model, processor = tiny_audio.qwen2_audio()
    processor.chat_template = "{% for m in messages %}{{ m.content[1].text }}{% endfor %}"
    with pytest.raises(ModelError, match="leaves 0 audio placeholders"):
        AudioPrefixLM(model, processor).encode(prompts)
    processor.chat_template = "{{ messages[-1].content[1].text }}<|AUDIO|>"
    with pytest.raises(ModelError, match="leaves out the context, 'At sea"):
        AudioPrefixLM(model, processor).encode([replace(prompts[0], context="At sea.")])


def test_framing_is_stripped_from_answers():
    flamingo, qwen = FAMILIES["audioflamingo3"].answer, FAMILIES["qwen3_asr"].answer
    assert flamingo('The spoken content of the audio is "it is late. Go".') == "it is late. Go"
    assert flamingo("The transcription of the audio is: hello") == "hello"
    assert flamingo("  The audio is late. ") == "The audio is late."
    assert qwen("language English<asr_text> hello ") == "hello"


def test_a_model_of_another_family_is_refused():
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=10))
    with pytest.raises(ModelError, match="known: audioflamingo3"):
        AudioPrefixLM(model, tiny_audio.bytes_tokenizer())
