"""Macro F1 and confusions of classifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

OTHER = "(other)"
"""Stands for all answers that are not a label of the set."""


def label_measures(references: Sequence[str], predictions: Sequence[str]) -> dict[str, Any]:
    """Macro F1 and the confusion matrix of normalized labels, row by row.

    `macro_f1` is the mean of 2·TP / (2·TP + FP + FN) over the labels that occur as a reference, so a rare label counts
    as much as a common one. `confusion` counts, for each of these labels, how often each label was the answer; other
    answers are counted together as "(other)".
    """
    labels = sorted(set(references))
    taken = [answer if answer in labels else OTHER for answer in predictions]
    pairs = Counter(zip(references, taken, strict=True))
    said, meant = Counter(taken), Counter(references)
    f1 = [2 * pairs[label, label] / (said[label] + meant[label]) for label in labels]
    confusion = {
        label: {answer: pairs[label, answer] for answer in [*labels, OTHER] if pairs[label, answer]} for label in labels
    }
    return {"macro_f1": sum(f1) / len(f1), "confusion": confusion}


def confusions(confusion: dict[str, dict[str, int]]) -> list[tuple[str, str, int]]:
    """(label, wrong answer, count), the most frequent first."""
    wrong = [(label, other, n) for label, row in confusion.items() for other, n in row.items() if other != label]
    return sorted(wrong, key=lambda one: (-one[2], one[0], one[1]))
