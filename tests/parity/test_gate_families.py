"""The parity gate on tiny models of every family: whole answers count by the token, text is not heard."""

from dataclasses import replace

import pytest
import tiny_audio
import tiny_classifier
import tiny_ctc
import tiny_encoder_decoder
import tiny_text
from helpers import audible, noise_prompts

from antiphon.errors import ModelError
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.classifier import Classifier
from antiphon.models.ctc import CTC
from antiphon.models.policy import Sampling
from antiphon.models.text_lm import TextLM
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.rollout.gate import run_gate

SAMPLING = Sampling(0.9, 8)
SECONDS = (0.41, 0.2, 0.3234)


def granite(folder):
    model, processor = tiny_audio.granite_speech()
    return AudioPrefixLM(audible(model), processor)


def ctc(folder):
    model, processor = tiny_ctc.wav2vec2_layer(folder)
    return CTC(audible(model), processor)


def classifier(folder):
    model, extractor = tiny_classifier.whisper()
    return Classifier(audible(model), extractor)


def whisper(folder):
    return tiny_encoder_decoder.whisper()


def moonshine(folder):
    return tiny_encoder_decoder.moonshine()


class Shifted(InProcessEngine):
    """An engine that reports the first answer of the first prompt as that much more probable than it is."""

    def __init__(self, policy, shift):
        super().__init__(policy)
        self.shift = shift

    def rollout(self, prompts, n, sampling, seed, step):
        (first, *others), *groups = super().rollout(prompts, n, sampling, seed, step)
        return [[replace(first, logprobs=(first.logprobs[0] + self.shift,)), *others], *groups]


@pytest.mark.parametrize("build", [granite, whisper, moonshine, ctc, classifier])
@pytest.mark.parametrize("count", [1, 3])
def test_a_sound_model_of_every_family_passes(build, count, tmp_path, monkeypatch):
    tiny_audio.without_torchaudio(monkeypatch)
    policy = build(tmp_path)
    prompts = [replace(prompt, instruction="Write it down.") for prompt in noise_prompts(SECONDS[:count])]
    report = run_gate(policy, InProcessEngine(policy), prompts, SAMPLING, seed=0)
    report.require()
    assert report.ablation == ("a tone" if count == 1 else "shuffled clips")
    assert (report.prompt_lengths is None) == (build is classifier)
    if not policy.token_level:
        assert report.actions == 2 * count


def test_the_difference_of_a_whole_answer_counts_by_the_token(tmp_path):
    policy, prompts = ctc(tmp_path), noise_prompts(SECONDS)
    [[answer, *_], *_] = InProcessEngine(policy).rollout(prompts, 2, SAMPLING, 0, 0)
    tokens = len(answer.token_ids)
    assert tokens > 3
    report = run_gate(policy, Shifted(policy, 2e-4), prompts, SAMPLING, seed=0)
    report.require()
    assert report.difference_max == pytest.approx(2e-4 / tokens, rel=0.05)
    with pytest.raises(ModelError, match="engine and trainer differ"):
        run_gate(policy, Shifted(policy, 2e-4 * tokens), prompts, SAMPLING, seed=0).require()


def test_a_text_model_has_nothing_to_hear():
    policy = TextLM(tiny_text.tiny("qwen3"), tiny_audio.bytes_tokenizer())
    report = run_gate(policy, InProcessEngine(policy), tiny_text.prompts(), SAMPLING, seed=0)
    report.require()
    assert (report.ablation, report.ablation_change) == (None, None)
    assert len(report.checks) == 1
