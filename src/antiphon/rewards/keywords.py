"""Whether the words that matter were heard, and not heard where nobody said them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import Field

from antiphon.config import Settings as StrictSettings
from antiphon.errors import RewardError
from antiphon.rewards.sample import Sample
from antiphon.text.alignment import units
from antiphon.text.normalize import NormalizerName, normalizer
from antiphon.types import Reward


class Settings(StrictSettings):
    """Settings of the reward `keywords`."""

    words: list[str] = Field(default=[], description="The keywords of all rows; empty to read them from a column.")
    column: str = Field(default="keywords", description="The data's column with each row's keywords, a list of texts.")
    normalizer: NormalizerName = Field(default="default", description="What is made equal before comparing.")


def build(settings: Settings) -> Callable[[Sample], Reward]:
    """The reward with these settings.

    F1 of the occurrences of keywords, 2·tp / (2·tp + fp + fn): an occurrence in the answer is a true positive as
    long as the reference has as many. 1 where neither text has any keyword. A keyword may have several words;
    it occurs where they follow each other.
    Parts: "recall" where the reference has keywords, "precision" where the answer has some.

    A row without the column is a `RewardError`; one without keywords says so by an empty list.
    """

    def keywords(sample: Sample) -> Reward:
        clean = normalizer(sample.language, settings.normalizer)
        wanted = {tuple(units(clean(word))) for word in settings.words or _of_row(sample, settings.column)} - {()}
        said, heard = (_occurrences(units(clean(text)), wanted) for text in (sample.label, sample.words))
        hits = (said & heard).total()
        total = said.total() + heard.total()
        parts = {"recall": said.total(), "precision": heard.total()}
        return Reward(2 * hits / total if total else 1.0, {name: hits / n for name, n in parts.items() if n})

    return keywords


def _of_row(sample: Sample, column: str) -> Sequence[str]:
    words = sample.metadata.get(column)
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise RewardError(
            f"reward 'keywords': the column {column!r} of sample {sample.title} holds {words!r}, no list of keywords; "
            "give every row a list ([] for none), or set reward.words for all rows"
        )
    return words


def _occurrences(text: Sequence[str], wanted: set[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    """How often each wanted sequence of units occurs in `text`."""
    lengths = {len(one) for one in wanted}
    runs = (tuple(text[start : start + length]) for length in lengths for start in range(len(text) - length + 1))
    return Counter(run for run in runs if run in wanted)
