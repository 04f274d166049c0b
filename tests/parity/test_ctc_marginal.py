"""The log-probability of a label sequence and the beam search over it, against all paths there are."""

import itertools

import numpy as np
import pytest
import torch

from antiphon.models.ctc import labeling_logprobs
from antiphon.models.ctc_beam import prefix_beam_search


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
        ours = labeling_logprobs(scores, lengths, labels, mask, blank, blocked).view(2, -1)
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
    value = labeling_logprobs(scores[None], torch.tensor([4]), labels, mask, 0, torch.zeros(3, dtype=torch.bool))
    (found,) = torch.autograd.grad(value.sum(), scores)
    (expected,) = torch.autograd.grad(enumerated(scores, 0)[sequence], scores)
    assert torch.allclose(found, expected, atol=1e-6)


def test_blocked_and_impossible_sequences_have_no_probability_and_no_gradient():
    logits = random_logits(3, 4).requires_grad_()
    blocked = torch.tensor([False, False, False, True])
    scores = logits.masked_fill(blocked, -torch.inf).log_softmax(-1)[None]
    possible, impossible = [(1,), (1, 1), (1, 2, 1)], [(3,), (1, 1, 2), (1, 2, 1, 2), (0,)]
    labels, mask = padded(possible + impossible)
    values = labeling_logprobs(scores, torch.tensor([3]), labels, mask, 0, blocked)
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
