"""Teachers on tiny real models: the same tokens, a BPE of its own, whole answers, several at once."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_ctc
import tiny_text
import torch
from helpers import audible, noise_prompts
from tiny_audio import CHAT, LAYERS, bytes_tokenizer
from tiny_encoder_decoder import whisper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from antiphon.algorithms.inputs import MIN_LOGPROB
from antiphon.config import load_config
from antiphon.errors import ConfigError, ModelError
from antiphon.models.blocking import block_from
from antiphon.models.ctc import CTC
from antiphon.models.text_lm import TextLM
from antiphon.train.batch import Batch, make_batch
from antiphon.train.objectives import load_objectives
from antiphon.train.teachers.by_text import TextTeacher
from antiphon.train.teachers.load import load_teachers
from antiphon.train.teachers.resample import resampled
from antiphon.train.teachers.same_tokens import SameTokensTeacher, same_tokens
from antiphon.train.teachers.spans import Reading, Span, align, prefixes, read
from antiphon.train.teachers.teacher import Judgment, Teachers
from antiphon.train.trainer import Trainer
from antiphon.types import Completion, Example, Group, Prompt, Text

CPU = torch.device("cpu")
MANY = 1 << 20
ANSWERS = [["the cat sat", "the cat"], ["naïve 漢字 theory", ""]]
CORPUS = ["the cat sat on the mat", "the theory of the naïve 漢字", "that is the other cat there"] * 4


def bpe_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE with merges of its own, trained here; its special tokens come first, not last."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHAT
    return tokenizer


@pytest.fixture(scope="module")
def student() -> TextLM:
    return TextLM(tiny_text.tiny("qwen3"), bytes_tokenizer())


@pytest.fixture(scope="module")
def other() -> TextLM:
    """A teacher with the student's tokens."""
    torch.manual_seed(5)
    return TextLM(tiny_text.tiny("llama"), bytes_tokenizer())


@pytest.fixture(scope="module")
def stranger() -> TextLM:
    """A teacher with tokens of its own."""
    tokenizer = bpe_tokenizer()
    ids = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": None}
    config = Qwen3Config(vocab_size=len(tokenizer), num_key_value_heads=2, head_dim=8, **LAYERS, **ids)
    return TextLM(audible(Qwen3ForCausalLM(config)), tokenizer)


@torch.no_grad()
def said(policy, prompts: list[Prompt], answers: list[list[str]], cut: bool = False) -> list[Group]:
    """Groups in which the policy said these answers, stop token included unless `cut`."""
    groups = []
    for prompt, texts in zip(prompts, answers, strict=True):
        completions = []
        for text in texts:
            ids = policy.target(prompt, text, None)
            ids = ids[:-1] if cut and policy.token_level else ids
            tokens = torch.tensor([ids])
            logprobs = policy.logprobs(policy.encode([prompt]), tokens, torch.ones_like(tokens), 1.0)[0].tolist()
            completions.append(Completion(tuple(ids), tuple(logprobs), text, "length" if cut else "stop"))
        groups.append(Group(Example(prompt.id, "text", None, ""), prompt, completions, [Text(text) for text in texts]))
    return groups


def judged(teacher, groups: list[Group]) -> tuple[Judgment, Batch]:
    batch = make_batch(groups, CPU)
    return teacher.judge(groups, batch, True), batch


def ratios(judgment: Judgment, batch: Batch) -> torch.Tensor:
    """log p_student − log p_teacher [N, A], 0 where not aligned."""
    assert judgment.logprobs is not None
    return batch.engine_logprobs - judgment.logprobs


def total(policy, prompt: Prompt, ids: list[int]) -> float:
    tokens = torch.tensor([ids])
    with torch.no_grad():
        return policy.logprobs(policy.encode([prompt]), tokens, torch.ones_like(tokens), 1.0).sum().item()


def test_spans_by_hand():
    student = read(["", "he", "hello", "hello w", "hello wor", "hello world"], "hello world", stops=True)
    teacher = read(["", "hell", "hello", "hello wo", "hello wor", "hello world"], "hello world", stops=True)
    assert student == Reading({0: 0, 2: 1, 5: 2, 7: 3, 9: 4, 11: 5}, 0, 5)
    assert teacher is not None
    assert align(student, teacher) == [
        Span((0, 2), (0, 2)),
        Span((2, 4), (2, 4)),
        Span((4, 5), (4, 5)),
        Span((5, 6), (5, 6)),
    ]


def test_framing_white_space_and_cut_characters_are_no_boundaries():
    framed = read(["", "lang", "lang en<asr>", "lang en<asr> so", "lang en<asr> so it "], "so it", stops=False)
    assert framed == Reading({0: 2, 2: 3, 5: 4}, 2, None)
    assert read(["", " so", " so it"], "so it", stops=True) == Reading({0: 0, 2: 1, 5: 2}, 0, 2)
    assert read(["", "a\ufffd", "a\ufffd", "a漢"], "a漢", stops=True) == Reading({0: 0, 2: 3}, 0, 3)
    assert read(["", "a", "a\ufffd"], "a\ufffd", stops=False) == Reading({0: 0, 1: 1}, 0, None)
    assert read([""], "", stops=True) == Reading({0: 0}, 0, 0)
    assert read(["", "other"], "answer", stops=True) is None
    assert read(["", "<tag>answer"], "answer", stops=True) is None  # no token begins where the answer does


def test_same_tokens_are_told_from_others(student, other, stranger):
    assert same_tokens(student, other)
    assert not same_tokens(student, stranger)
    shouting = SimpleNamespace(**{name: getattr(other, name) for name in ("token_level", "tokenizer", "rate")})
    shouting.target = lambda prompt, text, language: other.target(prompt, text.upper(), language)
    assert not same_tokens(student, shouting)


def test_a_teacher_of_the_same_tokens_scores_what_was_sampled(student, other):
    groups = said(student, tiny_text.prompts()[:2], ANSWERS)
    judgment, batch = judged(SameTokensTeacher("t", other, 1.0, MANY), groups)
    by_text, _ = judged(TextTeacher("t", other, student, 1.0, MANY), groups)
    assert judgment.share == by_text.share == 1.0
    for row, completion in enumerate(one for group in groups for one in group.completions):
        expected = total(other, groups[row // 2].prompt, list(completion.token_ids))
        assert judgment.logprobs is not None
        assert judgment.logprobs[row].sum().item() == pytest.approx(expected, rel=1e-5)
    # A boundary within a character is none, so that its bytes are one span; elsewhere spans are tokens.
    torch.testing.assert_close(ratios(by_text, batch).sum(-1), ratios(judgment, batch).sum(-1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ratios(by_text, batch)[:2], ratios(judgment, batch)[:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cut", [False, True])
def test_a_bpe_of_its_own_is_aligned_by_text(student, stranger, cut):
    """Whatever the spans, their log-ratios add up to that of the answer; within one they are equal."""
    answers = [ANSWERS[0], [ANSWERS[1][0], "cat"]] if cut else ANSWERS  # what is cut has a token at least
    groups = said(student, tiny_text.prompts()[:2], answers, cut)
    judgment, batch = judged(TextTeacher("t", stranger, student, 1.0, MANY), groups)
    assert judgment.share == 1.0
    torch.testing.assert_close(judgment.aligned, batch.mask)
    found = ratios(judgment, batch)
    completions = [(group.prompt, one) for group in groups for one in group.completions]
    for row, (prompt, completion) in enumerate(completions):
        answer = completion.text
        theirs = stranger.target(prompt, answer, None)
        assert len(theirs) < len(completion.token_ids) + 1 or not answer
        if not cut:
            expected = sum(completion.logprobs) - total(stranger, prompt, theirs)
            assert found[row].sum().item() == pytest.approx(expected, rel=1e-4)
    theirs = stranger.target(groups[0].prompt, "the cat sat", None)
    ends = [len(text) for text in prefixes(stranger.tokenizer, theirs[:-1])]
    for begin, end in pairwise(ends):  # the student's tokens are letters here
        assert found[0, begin:end].unique().numel() == 1
    if not cut:
        stop = completions[0][1].logprobs[-1] - judged_stop(stranger, groups[0].prompt, theirs)
        assert found[0, len("the cat sat")].item() == pytest.approx(stop, rel=1e-4)


def judged_stop(policy, prompt: Prompt, ids: list[int]) -> float:
    tokens = torch.tensor([ids])
    with torch.no_grad():
        return policy.logprobs(policy.encode([prompt]), tokens, torch.ones_like(tokens), 1.0)[0, -1].item()


def test_what_a_teacher_cannot_say_does_not_count_and_too_little_stops_the_run(student, stranger):
    groups = said(student, tiny_text.prompts()[:2], ANSWERS)
    teacher = TextTeacher("t", stranger, student, 1.0, MANY)
    groups[0].answers[0] = Text("what was never said")
    judgment, batch = judged(teacher, groups)
    assert not judgment.aligned[0].any()
    assert judgment.aligned[1:].equal(batch.mask[1:])
    assert judgment.share == pytest.approx(float(batch.mask[1:].sum() / batch.mask.sum()))
    torch.testing.assert_close(ratios(judgment, batch)[0], torch.zeros_like(batch.mask[0]))
    for group in groups:
        group.answers = [Text("what was never said")] * 2
    with pytest.raises(ModelError, match="could score only 0% of the student's answers; a run needs 50%"):
        Teachers([(1.0, teacher)]).judge(groups, make_batch(groups, CPU), True)


@pytest.fixture(scope="module")
def letters(tmp_path_factory) -> CTC:
    model, processor = tiny_ctc.wav2vec2_layer(tmp_path_factory.mktemp("ctc"))
    return CTC(audible(model), processor)


def test_a_whole_answer_is_one_advantage(letters):
    """A student of tokens with a CTC teacher, and the reverse: log p_student − log p_teacher at every action."""
    tokens, prompts = whisper(), noise_prompts((0.8, 0.6))
    answers = [["b", "bc"], ["bcb", "c"]]
    for learner, teacher in ((tokens, letters), (letters, tokens)):
        groups = said(learner, prompts, answers)
        judgment, batch = judged(TextTeacher("t", teacher, learner, 1.0, MANY), groups)
        assert judgment.share == 1.0
        for row, completion in enumerate(one for group in groups for one in group.completions):
            prompt = groups[row // 2].prompt
            theirs = total(teacher, prompt, teacher.target(prompt, completion.text, None))
            expected = sum(completion.logprobs) - theirs
            actions = ratios(judgment, batch)[row, : len(completion.logprobs)]
            assert actions.tolist() == pytest.approx([expected] * len(completion.logprobs), rel=1e-4)


def test_several_teachers_are_averaged_by_weight(student, other):
    groups = said(student, tiny_text.prompts()[:2], ANSWERS)
    one, own = (SameTokensTeacher("t", policy, 1.0, MANY) for policy in (other, student))
    batch = make_batch(groups, CPU)
    judgment, metrics = Teachers([(3.0, one), (1.0, own)]).judge(groups, batch, True)
    alone, _ = judged(one, groups)
    assert metrics == {"teacher_aligned_share": 1.0}
    torch.testing.assert_close(ratios(judgment, batch), 0.75 * ratios(alone, batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", ["forward_kl", "sampled"])
def test_distillation_losses_are_means_over_the_whole_minibatch(student, other, loss):
    groups = said(student, tiny_text.prompts()[:2], ANSWERS)
    objectives = load_objectives({"name": "opd", "loss": loss, "top_k": 4})
    figures = []
    for most in (1, MANY):
        config = load_config(overrides=["algorithm=opd", f"train.max_tokens_per_batch={most}", "device=cpu"])
        teachers = Teachers([(1.0, SameTokensTeacher("t", other, 1.0, MANY))])
        figures.append(Trainer(student, objectives, config, teacher=teachers).evaluate(groups))
    assert figures[0] == pytest.approx(figures[1], rel=1e-4, abs=1e-5)
    if loss == "sampled":
        judgment, batch = judged(SameTokensTeacher("t", other, 1.0, MANY), groups)
        expected = ratios(judgment, batch).sum() / batch.mask.sum()
        assert figures[0]["loss"] == pytest.approx(expected.item(), rel=1e-4)
    else:
        assert 4 <= figures[0]["valid_topk_mean"] <= 8


def test_two_losses_of_one_name_keep_their_metrics_apart(student, other):
    groups = said(student, tiny_text.prompts()[:2], ANSWERS)
    config = load_config(overrides=["algorithm=opd", "device=cpu"])

    def figures(*losses: str) -> dict[str, float]:
        objectives = load_objectives([{"name": "opd", "loss": one, "top_k": 4} for one in losses])
        teachers = Teachers([(1.0, SameTokensTeacher("t", other, 1.0, MANY))])
        return Trainer(student, objectives, config, teacher=teachers).evaluate(groups)

    forward, reverse, both = figures("forward_kl"), figures("reverse_kl"), figures("forward_kl", "reverse_kl")
    assert forward["divergence"] != pytest.approx(reverse["divergence"], rel=1e-2)
    assert both["opd/divergence"] == pytest.approx(forward["divergence"], rel=1e-5)
    assert both["opd_2/divergence"] == pytest.approx(reverse["divergence"], rel=1e-5)
    assert both["loss"] == pytest.approx(forward["loss"] + reverse["loss"], rel=1e-6)


def test_unjudged_tokens_are_out_of_the_mean(student, stranger):
    groups = said(student, tiny_text.prompts()[:2], ANSWERS)
    groups[0].answers[1] = Text("what was never said")
    config = load_config(overrides=["algorithm=opd", "device=cpu"])
    teacher = TextTeacher("t", stranger, student, 1.0, MANY)
    trainer = Trainer(
        student, load_objectives({"name": "opd", "loss": "sampled"}), config, teacher=Teachers([(1, teacher)])
    )
    judgment, batch = judged(teacher, groups)
    expected = ratios(judgment, batch).sum() / judgment.aligned.sum()
    assert trainer.evaluate(groups)["loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_of_several_stop_tokens_an_answer_ends_with_that_of_a_turn():
    """The list of a chat model often begins with the end of a document, with which it ends no answer."""
    model, tokenizer = tiny_text.tiny("qwen3"), bytes_tokenizer()
    turn, document = (tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>"))
    model.generation_config.eos_token_id = [document, turn]
    assert TextLM(model, tokenizer).target(tiny_text.prompts()[0], "a", None)[-1] == turn


def test_a_token_that_the_teacher_rules_out_costs_much_and_not_infinity(student, other):
    groups = said(student, tiny_text.prompts()[:1], [["cat", "dog"]])
    strict = TextLM(other.model, bytes_tokenizer(), [ord("c") - 33])
    judgment, _ = judged(SameTokensTeacher("t", strict, 1.0, MANY), groups)
    assert judgment.logprobs is not None
    assert judgment.logprobs[0, 0] == MIN_LOGPROB
    assert judgment.logprobs[1].min() > MIN_LOGPROB


def test_distributions_over_other_tokens_are_refused_at_the_start(student, stranger):
    config = load_config(overrides=["algorithm=opd", "teacher=there"])
    with pytest.raises(ConfigError, match=r"teacher there has other tokens than .* set loss: sampled"):
        load_teachers(config, student, load_objectives({"name": "opd"}), lambda spec, dtype: stranger)
    with pytest.raises(ConfigError, match=r"compares the 5000 most probable tokens, but the student has only 2\d\d;"):
        load_teachers(config, student, load_objectives({"name": "opd", "top_k": 5000}), lambda spec, dtype: stranger)
    hears = whisper()
    with pytest.raises(ConfigError, match="takes audio and the student takes text"):
        load_teachers(config, student, load_objectives({"name": "opd"}), lambda spec, dtype: hears)


def test_clips_are_resampled_for_a_teacher_that_hears_another_rate():
    (prompt,) = noise_prompts((0.5,), rate=8000)
    heard = resampled(prompt, 16000)
    assert heard.waveform is not None
    assert (heard.rate, len(heard.waveform)) == (16000, 8000)
    assert heard.seconds == prompt.seconds
    assert resampled(prompt, 8000) is prompt
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype(np.float32)
    twice = resampled(Prompt("t", tone, 8000), 16000).waveform
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert twice is not None
    assert np.abs(twice - expected)[1000:-1000].max() < 1e-3


def test_every_token_from_an_id_on_is_blocked_but_those_that_stop():
    policy = TextLM(tiny_text.tiny("qwen3"), bytes_tokenizer())
    block_from(policy, 100)
    (stop,) = policy.stop_ids
    assert stop >= 100
    assert policy.blocked.nonzero().squeeze(-1).tolist() == [i for i in range(100, policy.vocabulary) if i != stop]
    assert torch.equal(policy.blocking, torch.stack([policy.blocked, policy.blocked_first]))
    with pytest.raises(ConfigError, match="leaves no token but those that stop"):
        block_from(policy, 0)
