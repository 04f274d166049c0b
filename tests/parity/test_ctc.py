"""CTC policies: the marginal against enumeration of all paths, and every architecture against transformers' own."""

import copy
import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import audible, noise_prompts, relative_difference, take_gradients
from tokenizers import Tokenizer, models
from torch.nn.functional import ctc_loss
from transformers import (
    HubertConfig,
    HubertForCTC,
    ParakeetCTCConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetProcessor,
    ParakeetTokenizer,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2BertProcessor,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

from antiphon.algorithms import grpo
from antiphon.config import load_config
from antiphon.errors import ModelError
from antiphon.models.ctc import CTC, Prefix, frame_uniforms, labelling_logprobs
from antiphon.models.ctc_beam import prefix_beam_search
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engine import InProcessEngine
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Group, Prompt, Reward

VOCABULARY = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdehlo"]
SECONDS = (0.41, 0.2, 0.3234)
WAVEFORM = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 4),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def wav2vec2_processor(folder, mask: bool) -> Wav2Vec2Processor:
    return Wav2Vec2Processor(Wav2Vec2FeatureExtractor(return_attention_mask=mask), letters(folder))


def letters(folder) -> Wav2Vec2CTCTokenizer:
    path = folder / "vocab.json"
    path.write_text(json.dumps({token: i for i, token in enumerate(VOCABULARY)}))
    return Wav2Vec2CTCTokenizer(str(path))


def wav2vec2_group(folder):
    return Wav2Vec2ForCTC(Wav2Vec2Config(**WAVEFORM)), wav2vec2_processor(folder, mask=False)


def wav2vec2_layer(folder):
    return Wav2Vec2ForCTC(Wav2Vec2Config(**WAVEFORM, **LAYER_NORM)), wav2vec2_processor(folder, mask=True)


def wav2vec2_adapter(folder):
    config = Wav2Vec2Config(**WAVEFORM, **LAYER_NORM, add_adapter=True, num_adapter_layers=1)
    return Wav2Vec2ForCTC(config), wav2vec2_processor(folder, mask=True)


def hubert_group(folder):
    return HubertForCTC(HubertConfig(**WAVEFORM)), wav2vec2_processor(folder, mask=False)


def hubert_layer(folder):
    return HubertForCTC(HubertConfig(**WAVEFORM, **LAYER_NORM)), wav2vec2_processor(folder, mask=True)


def hubert_batch_norm(folder):
    config = HubertConfig(**WAVEFORM, **LAYER_NORM, conv_pos_batch_norm=True)
    return HubertForCTC(config), wav2vec2_processor(folder, mask=True)


def bert(folder, **settings):
    config = Wav2Vec2BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        feature_projection_input_dim=16,
        conv_depthwise_kernel_size=5,
        left_max_position_embeddings=8,
        **settings,
    )
    extractor = SeamlessM4TFeatureExtractor(feature_size=8, num_mel_bins=8, padding_value=1)
    return Wav2Vec2BertForCTC(config), Wav2Vec2BertProcessor(extractor, letters(folder))


def bert_adapter(folder):
    return bert(folder, add_adapter=True)


def parakeet(folder):
    encoder = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_mel_bins": 16,
        "subsampling_factor": 4,
        "subsampling_conv_channels": 8,
        "conv_kernel_size": 5,
    }
    blank = len(VOCABULARY) - 1
    config = ParakeetCTCConfig(vocab_size=blank + 1, pad_token_id=blank, encoder_config=encoder)
    vocabulary = {token: i for i, token in enumerate([*VOCABULARY[1:], VOCABULARY[0]])}
    tokenizer = ParakeetTokenizer(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "<unk>")), unk_token="<unk>", pad_token="<pad>"
    )
    return ParakeetForCTC(config), ParakeetProcessor(ParakeetFeatureExtractor(feature_size=16), tokenizer)


BUILDERS = [
    wav2vec2_group,
    wav2vec2_layer,
    wav2vec2_adapter,
    hubert_group,
    hubert_layer,
    hubert_batch_norm,
    bert,
    bert_adapter,
    parakeet,
]


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda build: build.__name__)
def policy(request, tmp_path_factory) -> CTC:
    model, processor = request.param(tmp_path_factory.mktemp("vocabulary"))
    return CTC(audible(model), processor)


@pytest.fixture(scope="module")
def group_norm(tmp_path_factory) -> CTC:
    model, processor = wav2vec2_group(tmp_path_factory.mktemp("vocabulary"))
    return CTC(audible(model), processor)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return noise_prompts(SECONDS)


# The arithmetic, against all paths there are.


def collapse(path, blank: int) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def enumerated(scores: torch.Tensor, blank: int) -> dict[tuple[int, ...], torch.Tensor]:
    """log p of every label sequence that `scores` [T, V] make possible: the sum over its paths, one by one."""
    paths: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        value = scores[torch.arange(len(scores)), list(path)].sum()
        paths.setdefault(collapse(path, blank), []).append(value)
    return {labels: torch.stack(values).logsumexp(0) for labels, values in paths.items()}


def padded(rows) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(1, *(len(row) for row in rows))
    mask = torch.tensor([[i < len(row) for i in range(width)] for row in rows])
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows]), mask


def random_logits(frames: int, labels: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(frames, labels, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("frames", [1, 4, 5])
def test_the_marginal_and_its_gradient_equal_enumeration(frames, blank):
    """Two clips of unequal length, scored together; all sequences, empty and repeating ones included."""
    logits = [random_logits(frames, 4, seed=0), random_logits(max(frames - 1, 1), 4, seed=1)]
    blocked = torch.zeros(4, dtype=torch.bool)
    for first, second in ((logits[0], logits[1]), (logits[1], logits[0])):
        clips = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        tables = [enumerated(clip.log_softmax(-1), blank) for clip in clips]
        sequences = sorted(set(tables[0]) | set(tables[1]))
        labels, mask = padded(sequences * 2)
        scores = torch.nn.utils.rnn.pad_sequence([clip.log_softmax(-1) for clip in clips], batch_first=True)
        lengths = torch.tensor([len(clip) for clip in clips])
        ours = labelling_logprobs(scores, lengths, labels, mask, blank, blocked).view(2, -1)
        assert torch.allclose(ours.exp().sum(-1), torch.ones(2))

        weights = torch.randn(len(sequences), generator=torch.Generator().manual_seed(2))
        for p in range(2):
            known = torch.tensor([sequence in tables[p] for sequence in sequences])
            theirs = torch.stack([tables[p][s] for s in sequences if s in tables[p]])
            assert torch.allclose(ours[p, known].double(), theirs, atol=1e-6)
            assert ours[p, ~known].isneginf().all()
            expected = torch.autograd.grad((theirs * weights[known]).sum(), clips[p], retain_graph=True)[0]
            found = torch.autograd.grad((ours[p, known] * weights[known]).sum(), clips[p], retain_graph=True)[0]
            assert torch.allclose(found, expected, atol=1e-6)


def test_the_gradient_is_right_for_frame_probabilities_themselves():
    """Not through a log-softmax, where a wrong multiple of the probabilities would cancel."""
    scores = random_logits(4, 3).log_softmax(-1).requires_grad_()
    sequence = (1, 2)
    labels, mask = padded([sequence])
    value = labelling_logprobs(scores[None], torch.tensor([4]), labels, mask, 0, torch.zeros(3, dtype=torch.bool))
    (found,) = torch.autograd.grad(value.sum(), scores)
    (expected,) = torch.autograd.grad(enumerated(scores, 0)[sequence], scores)
    assert torch.allclose(found, expected, atol=1e-6)


def test_blocked_and_impossible_sequences_have_no_probability_and_no_gradient():
    logits = random_logits(3, 4).requires_grad_()
    blocked = torch.tensor([False, False, False, True])
    scores = logits.masked_fill(blocked, -torch.inf).log_softmax(-1)[None]
    possible, impossible = [(1,), (1, 1), (1, 2, 1)], [(3,), (1, 1, 2), (1, 2, 1, 2), (0,)]
    labels, mask = padded(possible + impossible)
    values = labelling_logprobs(scores, torch.tensor([3]), labels, mask, 0, blocked)
    table = enumerated(logits[:, :3].log_softmax(-1), 0)
    theirs = torch.stack([table[sequence] for sequence in possible])
    assert torch.allclose(values[:3].double(), theirs, atol=1e-6)
    assert values[3:].isneginf().all()
    (found,) = torch.autograd.grad(values[:3].sum(), logits, retain_graph=True)
    (expected,) = torch.autograd.grad(theirs.sum(), logits)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_wide_beam_finds_the_most_probable_sequences():
    for seed in range(5):
        scores = random_logits(5, 4, seed).log_softmax(-1)
        ranked = sorted(enumerated(scores, 0).items(), key=lambda item: -item[1])
        found = prefix_beam_search(scores.numpy(), 0, width=400)
        assert found[:10] == [labels for labels, _ in ranked[:10]]


def plain_beam(scores: np.ndarray, blank: int, width: int) -> list[tuple[int, ...]]:
    """The same search with every label tried at every frame, in probabilities."""
    beam = {(): (1.0, 0.0)}
    for frame in np.exp(scores):
        grown: dict[tuple[int, ...], list[float]] = {}
        for prefix, (in_blank, in_label) in beam.items():
            for label, p in enumerate(frame):
                if label == blank:
                    grown.setdefault(prefix, [0.0, 0.0])[0] += (in_blank + in_label) * p
                elif prefix and label == prefix[-1]:
                    grown.setdefault(prefix, [0.0, 0.0])[1] += in_label * p
                    grown.setdefault((*prefix, label), [0.0, 0.0])[1] += in_blank * p
                else:
                    grown.setdefault((*prefix, label), [0.0, 0.0])[1] += (in_blank + in_label) * p
        beam = dict(sorted(grown.items(), key=lambda item: -sum(item[1]))[:width])
    return list(beam)


@pytest.mark.parametrize("width", [1, 3, 6])
def test_labels_that_the_beam_leaves_out_change_nothing(width):
    for seed in range(5):
        scores = random_logits(12, 20, seed).log_softmax(-1).numpy()
        assert prefix_beam_search(scores, 3, width) == plain_beam(scores, 3, width)


def test_frame_uniforms_continue_a_row_by_itself_alone():
    rows = np.random.default_rng(0).random((2, 4))
    assert np.array_equal(frame_uniforms(rows[0], 3), rows[0, :3])
    longer = [frame_uniforms(row, 50) for row in rows]
    assert np.array_equal(longer[0][:4], rows[0])
    assert np.array_equal(longer[0], frame_uniforms(rows[0].copy(), 50))
    assert not np.isin(longer[0], longer[1]).any()
    assert len(set(longer[0])) == 50
    assert ((longer[0] >= 0) & (longer[0] < 1)).all()


# Every architecture, from raw waveforms.


def sequences(policy: CTC, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Label sequences of 0 to 3 labels for each clip, some with equal neighbours."""
    generator = torch.Generator().manual_seed(1)
    allowed = ~policy.blocked
    allowed[policy.blank] = False
    choices = allowed.nonzero().squeeze(-1)
    labels = choices[torch.randint(len(choices), (len(SECONDS) * group, 3), generator=generator)]
    labels[::3, 1] = labels[::3, 0]
    lengths = torch.randint(0, 4, (len(labels),), generator=generator)
    mask = (torch.arange(3) < lengths[:, None]).float()
    return labels * mask.long(), mask


def their_logits(policy: CTC, prompt: Prompt) -> torch.Tensor:
    """[T, V] of transformers' own processor and forward on one clip."""
    inputs = policy.processor([prompt.waveform], sampling_rate=16000, return_tensors="pt")
    logits = policy.model(**inputs).logits[0]
    if "attention_mask" not in inputs:
        return logits
    length = getattr(policy.model, "_get_feat_extract_output_lengths", None)
    length = length or policy.model._get_subsampling_output_length
    return logits[: int(length(inputs["attention_mask"].sum(-1)))]


def expanded_logprobs(policy, prompts, tokens, mask, temperature) -> torch.Tensor:
    """The plain way: a forward pass for every pair of clip and label sequence."""
    values = []
    for row, (labels, taken) in enumerate(zip(tokens, mask.bool(), strict=True)):
        logits = their_logits(policy, prompts[row * len(prompts) // len(tokens)])
        scores = (logits.float() / temperature).masked_fill(policy.blocked, -1e9).log_softmax(-1)
        frames, size = torch.tensor([len(scores)]), taken.sum()[None]
        loss = ctc_loss(scores[:, None].double(), labels[taken][None], frames, size, policy.blank, reduction="sum")
        values.append(-loss.float())
    return torch.stack(values)[:, None]


@pytest.mark.parametrize(("group", "temperature"), [(1, 1.0), (4, 0.7), (16, 1.0)])
def test_logprobs_and_gradients_equal_the_expanded_batch(policy, prompts, group, temperature):
    tokens, mask = sequences(policy, group)
    weights = torch.randn(len(tokens), 1, generator=torch.Generator().manual_seed(2))
    shared = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    (shared * weights).sum().backward()
    ours = take_gradients(policy.model)
    expanded = expanded_logprobs(policy, prompts, tokens, mask, temperature)
    (expanded * weights).sum().backward()
    assert shared.shape == (len(tokens), 1)
    assert torch.allclose(shared, expanded, rtol=1e-7, atol=1e-5)
    assert relative_difference(ours, take_gradients(policy.model)) <= 1e-5


def test_logprobs_equal_transformers_own_loss(policy, prompts):
    every = CTC(policy.model, policy.processor, block_tokens=())
    tokens, mask = sequences(policy, 1)
    tokens[:, 0], mask[:, 0] = torch.where(mask[:, 0] > 0, tokens[:, 0], 5), 1  # theirs takes no empty sequence
    policy.model.config.ctc_loss_reduction = "sum"
    with torch.no_grad():
        ours = every.logprobs(every.encode(prompts), tokens, mask)
        for prompt, row, taken, value in zip(prompts, tokens, mask.bool(), ours, strict=True):
            inputs = policy.processor([prompt.waveform], sampling_rate=16000, return_tensors="pt")
            pad = -100 if policy.model.config.model_type != "parakeet_ctc" else policy.blank
            loss = policy.model(**inputs, labels=torch.where(taken, row, pad)[None]).loss
            assert value.item() == pytest.approx(-loss.item(), rel=1e-5, abs=1e-4)


def test_a_clip_alone_and_in_a_batch_gives_the_same_numbers(policy):
    prompts = noise_prompts([*SECONDS, SECONDS[0]])  # the first and the last share a pass
    tokens, mask = (rows[:8] for rows in sequences(policy, 4))
    with torch.no_grad():
        together = policy.logprobs(policy.encode(prompts), tokens, mask)
        for i, prompt in enumerate(prompts):
            rows = slice(2 * i, 2 * i + 2)
            alone = policy.logprobs(policy.encode([prompt]), tokens[rows], mask[rows])
            assert torch.allclose(alone, together[rows], rtol=1e-7, atol=1e-5)


def test_clips_are_heard(policy, prompts):
    tokens, mask = sequences(policy, 2)
    with torch.no_grad():
        heard = policy.logprobs(policy.encode(prompts), tokens, mask)
        same_length = noise_prompts([*SECONDS, *SECONDS])[3:]
        other = policy.logprobs(policy.encode(same_length), tokens, mask)
    assert (heard - other).abs().max() > 1e-2


def test_every_part_gets_gradient(policy, prompts):
    tokens, mask = sequences(policy, 4)
    weights = torch.randn(len(tokens), 1, generator=torch.Generator().manual_seed(3))
    (policy.logprobs(policy.encode(prompts), tokens, mask) * weights).sum().backward()
    gradients = take_gradients(policy.model)
    without = {name for name, _ in policy.model.named_parameters() if name not in gradients}
    assert all(name.endswith("masked_spec_embed") for name in without)  # SpecAugment's own, which does not run
    assert [name for name, gradient in gradients.items() if not gradient.abs().max() > 0] == []


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_reports_the_logprobs_that_training_computes(policy, prompts, temperature):
    uniforms = np.random.default_rng(0).random((len(prompts) * 4, 7))
    with torch.no_grad():
        groups = policy.sample(policy.encode(prompts), 4, Sampling(temperature, 7), uniforms)
        rows = [completion for group in groups for completion in group]
        tokens, mask = padded([row.token_ids for row in rows])
        trained = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    assert [len(group) for group in groups] == [4, 4, 4]
    assert trained[:, 0].tolist() == pytest.approx([row.logprobs[0] for row in rows], rel=1e-5)
    for row in rows:
        assert len(row.logprobs) == 1
        assert not policy.blocked[list(row.token_ids)].any()
        assert policy.blank not in row.token_ids
    again = policy.sample(policy.encode(prompts), 4, Sampling(temperature, 7), uniforms)
    assert [row.token_ids for group in again for row in group] == [row.token_ids for row in rows]
    assert len({row.token_ids for row in rows}) > 6


def test_greedy_equals_transformers_best_path(policy, prompts):
    every = CTC(policy.model, policy.processor, block_tokens=())
    with torch.no_grad():
        for one, blocked in ((every, torch.zeros_like(policy.blocked)), (policy, policy.blocked)):
            ours = [group[0] for group in one.sample(one.encode(prompts), 1, Sampling(0.0, 4), None)]
            for prompt, completion in zip(prompts, ours, strict=True):
                best = their_logits(policy, prompt).masked_fill(blocked, -torch.inf).argmax(-1)
                assert completion.token_ids == collapse(best.tolist(), policy.blank)
                assert completion.finish_reason == "stop"
                if one is policy:  # without special tokens, which the text leaves out
                    assert completion.text == policy.tokenizer.decode(best)


def test_a_beam_finds_no_worse_than_the_best_path(policy, prompts):
    with torch.no_grad():
        prefix = policy.encode(prompts)
        greedy = [group[0].logprobs[0] for group in policy.sample(prefix, 1, Sampling(0.0, 4), None)]
        beams = [completion.logprobs[0] for completion in policy.beam(prefix, 16)]
    assert all(beam >= one - 1e-6 for beam, one in zip(beams, greedy, strict=True))
    assert sum(beams) > sum(greedy)


def test_saving_and_loading_changes_no_number(policy, prompts, tmp_path):
    policy.save(tmp_path)
    again = load_policy(str(tmp_path), torch.device("cpu"), torch.float32)
    assert isinstance(again, CTC)
    assert not again.token_level
    assert torch.equal(again.blocked, policy.blocked)
    with torch.no_grad():
        assert torch.allclose(again.encode(prompts).logits, policy.encode(prompts).logits, rtol=0, atol=1e-6)


# What does not depend on the architecture.


def test_samples_come_as_often_as_their_probability_says(group_norm):
    prompts = noise_prompts([0.05])  # 4 frames
    with torch.no_grad():
        prefix = group_norm.encode(prompts)
        assert prefix.frames.tolist() == [4]
        (group,) = group_norm.sample(prefix, 20000, Sampling(0.5, 2), np.random.default_rng(0).random((20000, 2)))
    counts = Counter(completion.token_ids for completion in group)
    probability = {completion.token_ids: np.exp(completion.logprobs[0]) for completion in group}
    for labels, count in counts.most_common(10):
        deviation = np.sqrt(20000 * probability[labels] * (1 - probability[labels]))
        assert abs(count - 20000 * probability[labels]) < 4.5 * deviation


def test_doubled_letters_and_word_boundaries_survive(group_norm):
    """A path of "h e l blank l o | a" says "hello a"."""
    path = [VOCABULARY.index(label) for label in ("h", "h", "e", "l", "<pad>", "l", "o", "|", "a")]
    logits = torch.full((1, len(path), len(VOCABULARY)), -9.0)
    logits[0, torch.arange(len(path)), path] = 9.0
    prefix = Prefix(logits, torch.tensor([len(path)]))
    sampled = group_norm.sample(prefix, 1, Sampling(1.0, 3), np.full((1, 3), 0.5))[0][0]
    greedy = group_norm.sample(prefix, 1, Sampling(0.0, 3), None)[0][0]
    assert sampled.text == greedy.text == group_norm.beam(prefix, 2)[0].text == "hello a"
    assert len(greedy.token_ids) == 7 > 3  # `max_new_tokens` cuts nothing


def test_special_tokens_are_blocked_but_not_blank_and_boundary(policy):
    blocked = [policy.tokenizer.convert_ids_to_tokens(i) for i in policy.blocked.nonzero().squeeze(-1).tolist()]
    expected = {"<unk>"} if policy.model.config.model_type == "parakeet_ctc" else {"<s>", "</s>", "<unk>"}
    assert set(blocked) == expected
    assert CTC(policy.model, policy.processor, block_tokens=[5]).blocked.nonzero().tolist() == [[5]]


def test_unusable_prompts_are_named(policy):
    waveform = np.zeros(16000, np.float32)
    with pytest.raises(ModelError, match=r"'a' has no audio"):
        policy.encode([Prompt("a", "asr", None, 16000)])
    with pytest.raises(ModelError, match=r"'a' has a context"):
        policy.encode([Prompt("a", "asr", waveform, 16000, context="names: Ada")])
    for samples in (100, 399):
        with pytest.raises(ModelError, match=r"'a' is 0\.0\d\d s long, too short"):
            policy.encode([Prompt("a", "asr", waveform[:samples], 16000)])


def test_divergence_is_said(group_norm):
    prefix = Prefix(torch.full((1, 3, len(VOCABULARY)), torch.nan), torch.tensor([3]))
    with pytest.raises(ModelError, match="training has diverged"):
        group_norm.sample(prefix, 2, Sampling(1.0, 3), np.full((2, 3), 0.5))


def test_a_model_of_another_family_is_refused(group_norm):
    model = copy.copy(group_norm.model)
    model.config = HubertConfig()
    model.config.model_type = "sew"
    with pytest.raises(ModelError, match=r"'sew' is not a CTC model that antiphon knows; known: hubert, parakeet_ctc"):
        CTC(model, group_norm.processor)


def test_rewarded_labels_become_more_frequent(policy):
    """GRPO from rollouts of the policy itself, through the trainer that every family uses."""
    one = CTC(copy.deepcopy(policy.model), policy.processor)
    overrides = ["optimizer.lr=3e-3", "rollout.prompts_per_step=3", "rollout.max_new_tokens=8"]
    trainer = Trainer(one, grpo, grpo.Settings(), load_config(overrides=overrides))
    prompts, wanted = noise_prompts([0.21, 0.18, 0.19]), one.tokenizer.convert_tokens_to_ids("a")
    means = []
    for step in range(10):
        groups = [
            Group(Example(prompt.id, "asr", None, ""), prompt, completions)
            for prompt, completions in zip(
                prompts, InProcessEngine(one).rollout(prompts, 16, Sampling(1.0, 8), seed=0, step=step), strict=True
            )
        ]
        for group in groups:
            ids = [completion.token_ids for completion in group.completions]
            group.rewards = [Reward(row.count(wanted) / max(len(row), 1)) for row in ids]
        _, metrics = trainer.step(groups, step)
        assert metrics.get("engine_difference_max", 0) < 1e-4
        means.append(np.mean([[reward.value for reward in group.rewards] for group in groups]))
    assert np.mean(means[-3:]) > np.mean(means[:3]) + 0.1
