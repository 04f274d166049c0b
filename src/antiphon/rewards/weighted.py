"""The weighted sum of several rewards."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.rewards.calling import within_bounds
from antiphon.rewards.running import together
from antiphon.rewards.sample import Failure, RewardFunction, Sample, Scored
from antiphon.types import Reward


class WeightedSum:
    """The weighted sum of the rewards that apply to a sample. If one fails, the sample is dropped.

    value = (Σ_all |w| / Σ_applying |w|) · Σ_applying w · value: where a reward does not apply, because it returned
    None, the others take its share of the weight. So an abstention is no 0, which could be the best value of its group.

    Parts: each reward's unweighted value under its label, and its parts as "label/part". The label is the name of the
    reward or of the user's function, numbered if it repeats ("wer", "wer_2").
    """

    def __init__(self, terms: Sequence[tuple[RewardFunction, float]]) -> None:
        self._terms = [(label, *term) for label, term in zip(_labels(terms), terms, strict=True)]
        self._weight = sum(abs(weight) for _, weight in terms)
        self.name = " + ".join(reward.name for reward, _ in terms)

    @property
    def highest(self) -> float | None:
        """The sum of the terms' highest values; None where one's is not known, or counts negatively."""
        total = 0.0
        for _, reward, weight in self._terms:
            if weight < 0 or (weight > 0 and reward.highest is None):
                return None
            total += weight * (reward.highest or 0.0)
        return total

    async def score(self, samples: Sequence[Sample]) -> list[Scored]:
        columns = await together(reward.score(samples) for _, reward, _ in self._terms)
        return [self._add(row, sample) for row, sample in zip(zip(*columns, strict=True), samples, strict=True)]

    def _add(self, scores: Sequence[Scored], sample: Sample) -> Scored:
        parts: dict[str, float] = {}
        value = applying = 0.0
        for (label, _, weight), scored in zip(self._terms, scores, strict=True):
            if isinstance(scored, Failure):
                return scored
            if scored is not None:
                value += weight * scored.value
                applying += abs(weight)
                parts[label] = scored.value
                parts.update({f"{label}/{part}": number for part, number in scored.parts.items()})
        if not parts or (self._weight and not applying):
            return None
        if applying not in (0.0, self._weight):
            value *= self._weight / applying
        return within_bounds(Reward(value, parts), self.name, sample)


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
