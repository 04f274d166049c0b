"""The language tag of Qwen3-ASR: what is read of whole answers, of those that break off, and of beginnings."""

import pytest

from antiphon.text.language_tag import TAG, may_be_tag, tagged, untagged
from antiphon.types import Text


@pytest.mark.parametrize("language", ["English", "Chinese", "Cantonese", None])
def test_reading_is_the_inverse_of_writing(language) -> None:
    assert untagged(tagged("hello there", language)) == Text("hello there", language)
    assert untagged(tagged("", language)) == Text("", language)


@pytest.mark.parametrize(
    "half",
    [
        "language",
        "language ",
        "language English",
        "language English\n",
        "language None",
        "language English,Chinese",
        "language English<asr",
        "language English<asr_text",
        "language Portug",
    ],
)
def test_a_tag_that_breaks_off_is_an_empty_answer(half: str) -> None:
    assert untagged(half) == Text("")


@pytest.mark.parametrize(
    "said",
    ["language barriers fall", "Language English", "language english", "the language English", "la", "language E1"],
)
def test_words_that_are_no_tag_stay(said: str) -> None:
    assert untagged(said) == Text(said)


def test_after_a_prompt_that_holds_the_tag_one_word_may_be_all_that_was_said() -> None:
    assert untagged("language", forced=True) == Text("language")
    assert untagged("language English", forced=True) == Text("")
    assert untagged(f"language English{TAG} hello", forced=True) == Text("hello", "English")


def test_of_a_beginning_nothing_shows_until_the_tag_has_ended() -> None:
    whole = "language English<asr_text>one"
    ended = whole.index(TAG) + len(TAG)
    assert [may_be_tag(whole[:end]) for end in range(len(whole))] == [end < ended for end in range(len(whole))]
    assert not may_be_tag("language barriers")
