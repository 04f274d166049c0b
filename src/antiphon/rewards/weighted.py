"""The weighted sum of several rewards."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.rewards.running import together
from antiphon.rewards.sample import Failure, RewardFunction, Sample, Scored
from antiphon.types import Reward


class WeightedSum:
    """value = Σ weight · value over the rewards that apply to a sample. If one fails, the sample is dropped.

    Parts: each reward's unweighted value under its label, and its parts as "label/part". The label is the name of the
    reward or of the user's function, numbered if it repeats ("wer", "wer_2").
    """

    def __init__(self, terms: Sequence[tuple[RewardFunction, float]]) -> None:
        self._terms = [(label, *term) for label, term in zip(_labels(terms), terms, strict=True)]
        self.name = " + ".join(reward.name for reward, _ in terms)

    async def score(self, samples: Sequence[Sample]) -> list[Scored]:
        columns = await together(reward.score(samples) for _, reward, _ in self._terms)
        return [self._add(row) for row in zip(*columns, strict=True)]

    def _add(self, scores: Sequence[Scored]) -> Scored:
        parts: dict[str, float] = {}
        value = 0.0
        for (label, _, weight), scored in zip(self._terms, scores, strict=True):
            if isinstance(scored, Failure):
                return scored
            if scored is not None:
                value += weight * scored.value
                parts[label] = scored.value
                parts.update({f"{label}/{part}": number for part, number in scored.parts.items()})
        return Reward(value, parts) if parts else None


def _labels(terms: Sequence[tuple[RewardFunction, float]]) -> list[str]:
    labels: list[str] = []
    for reward, _ in terms:
        plain = reward.name.rpartition(":")[2].rpartition(".")[2]
        label, number = plain, 1
        while label in labels:
            number += 1
            label = f"{plain}_{number}"
        labels.append(label)
    return labels
