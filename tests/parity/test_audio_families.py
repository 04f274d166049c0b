"""Audio-prefix architectures: what their processors are asked, and what they refuse."""

from dataclasses import replace

import pytest
import tiny_audio
import torch
import transformers
from helpers import noise_prompts

from antiphon.errors import ModelError
from antiphon.models.audio_families import FAMILIES
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.load import load_policy
from antiphon.types import Prompt, Text

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
        yield AudioPrefixLM(model, processor)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return [replace(prompt, instruction="Write it down.") for prompt in noise_prompts(SECONDS)]


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
    with pytest.raises(ModelError, match=f"takes at most {limit:g} s"):
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
    inputs = [omni.prepare(prompt) for prompt in prompts]
    lengths = [len(one["input_ids"]) for one in inputs]
    ids = torch.zeros(len(inputs), max(lengths), dtype=torch.long)
    for row, one, length in zip(ids, inputs, lengths, strict=True):
        row[len(row) - length :] = one["input_ids"]
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
    with pytest.raises(ModelError, match="do not match"):
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
    flamingo, qwen = FAMILIES["audioflamingo3"].render, FAMILIES["qwen3_asr"].render
    assert flamingo('The spoken content of the audio is "it is late. Go".', None).text == "it is late. Go"
    assert flamingo("The transcription of the audio is: hello", None).text == "hello"
    assert flamingo("  The audio is late. ", None).text == "The audio is late."
    assert qwen("language English<asr_text> hello ", None) == Text("hello", "English")


def test_a_model_of_another_family_is_refused():
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=10))
    with pytest.raises(ModelError, match="supported: audioflamingo3"):
        AudioPrefixLM(model, tiny_audio.bytes_tokenizer())


def test_an_architecture_of_no_family_is_answered_with_the_families(tmp_path):
    transformers.SEWConfig(architectures=["SEWForCTC"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a SEWForCTC, of an unsupported family") as error:
        load_policy(str(tmp_path), torch.device("cpu"), torch.float32)
    for known in ("qwen3_asr", "whisper", "wav2vec2", "audio-spectrogram-transformer", "transformers' causal LMs"):
        assert known in str(error.value)


def test_a_clip_that_takes_more_positions_than_the_model_has_is_refused():
    model, processor = tiny_audio.qwen2_audio()
    model.config.text_config.max_position_embeddings = 40
    with pytest.raises(ModelError, match=r"'p0' takes \d+ tokens \(3 s of audio\), but this model has 40 positions"):
        AudioPrefixLM(model, processor).encode(noise_prompts([2.9]))
