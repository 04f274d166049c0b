"""Answers that are right or wrong as a whole: how many are right, and which labels are taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

OTHER = "(other)"
"""Stands for all answers that are no label of the set."""


def label_measures(references: Sequence[str], predictions: Sequence[str]) -> dict[str, Any]:
    """What is said of a classification beside its accuracy; both sequences are normalized labels, row for row.

    `macro_f1` is the mean over the labels that occur as a reference of 2·TP / (2·TP + FP + FN), so that a rare label
    counts as much as a common one. `confusion` has, for each of these labels, how often it was answered with which
    label; answers that are none of them are counted together as "(other)".
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
    """(label, what was answered instead, how often), the most frequent first."""
    wrong = [(label, other, n) for label, row in confusion.items() for other, n in row.items() if other != label]
    return sorted(wrong, key=lambda one: (-one[2], one[0], one[1]))
