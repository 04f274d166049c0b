"""Keyword F1: whether the keywords of the reference, and only those, occur in the transcript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import Field

from antiphon.config import Settings as StrictSettings
from antiphon.errors import DataError, RewardError
from antiphon.rewards.sample import Sample
from antiphon.tasks.request import HOT_WORDS, hot_words_of, words_in
from antiphon.text.alignment import units
from antiphon.text.normalize import NormalizerName, normalizer
from antiphon.types import Reward


class Settings(StrictSettings):
    """Settings of the reward `keywords`."""

    words: list[str] = Field(default=[], description="Keywords of rows that have none of their own.")
    column: str = Field(
        default="keywords",
        description="The data's column with each row's keywords, a list or a text with commas; else its hot words.",
    )
    normalizer: NormalizerName = Field(default="default", description="Text normalization before comparing.")


def highest(settings: Settings) -> float:
    """The highest F1."""
    return 1.0


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings.

    F1 over occurrences of keywords, 2·tp / (2·tp + fp + fn): an occurrence in the answer is a true positive up to the
    number in the reference. 1 if neither text has a keyword. A keyword of several words matches them in sequence.
    Parts: "recall" if the reference has keywords, "precision" if the answer has some.

    A row's own keywords come before `words`: those in the column, else its hot words. Without any of these it raises
    `RewardError`; a row without keywords needs an empty list.
    """

    def keywords(sample: Sample) -> Reward:
        clean = normalizer(sample.language, settings.normalizer)
        wanted = {tuple(units(clean(word))) for word in _of_row(sample, settings)} - {()}
        reference, answer = (_occurrences(units(clean(text)), wanted) for text in (sample.label, sample.words))
        hits = (reference & answer).total()
        total = reference.total() + answer.total()
        parts = {"recall": reference.total(), "precision": answer.total()}
        return Reward(2 * hits / total if total else 1.0, {name: hits / n for name, n in parts.items() if n})

    return keywords


def _of_row(sample: Sample, settings: Settings) -> Sequence[str]:
    column, row = settings.column, sample.metadata
    try:
        if row.get(column) is not None:
            return words_in(row[column], column)
        if any(row.get(name) is not None for name in HOT_WORDS):
            return hot_words_of(row)
    except DataError as error:
        raise RewardError(f"reward 'keywords': sample {sample.title}: {error}") from error
    if not settings.words:
        raise RewardError(
            f"reward 'keywords': sample {sample.title} has no column {column!r} with keywords and no hot words; "
            "give every row a list ([] for none), or set reward.words for all rows"
        )
    return settings.words


def _occurrences(text: Sequence[str], wanted: set[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    """How often each wanted sequence of units occurs in `text`."""
    lengths = {len(one) for one in wanted}
    runs = (tuple(text[start : start + length]) for length in lengths for start in range(len(text) - length + 1))
    return Counter(run for run in runs if run in wanted)
