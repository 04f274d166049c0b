"""Subtitles keep to the limits of lines and times, and lose no word."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.models.word_times import Word, by_word, interpolated, spread
from antiphon.serve.subtitles import LINE, LONGEST, cues, srt, vtt


def said(text: str, each: float = 0.3, start: float = 0.0) -> list[Word]:
    words = text.split()
    return [Word(word, start + i * each, start + (i + 1) * each) for i, word in enumerate(words)]


def test_a_short_sentence_is_one_line():
    assert srt(said("Good morning.")) == "1\n00:00:00,000 --> 00:00:00,600\nGood morning.\n\n"
    assert vtt(said("a <b> & c")) == "WEBVTT\n\n00:00:00.000 --> 00:00:01.200\na &lt;b&gt; &amp; c\n\n"
    assert (srt([]), vtt([])) == ("", "WEBVTT\n\n")


def test_times_have_hours_and_are_rounded_to_milliseconds():
    (text,) = srt([Word("late", 3599.9996, 3661.25)]).split("\n\n")[:1]
    assert text == "1\n01:00:00,000 --> 01:00:07,000\nlate"


def test_two_lines_are_of_like_width():
    (cue,) = cues(said("one two three four five six seven eight nine ten"))
    assert cue.lines == ("one two three four five", "six seven eight nine ten")


def test_cues_end_at_pauses_sentences_and_commas():
    words = [*said("one two"), *said("three four.", start=5.0), *said("Five six", start=5.6)]
    assert [cue.lines for cue in cues(words)] == [("one two",), ("three four.",), ("Five six",)]
    long = "the first clause of a sentence is long enough to fill, but the second one does not fit beside it any more"
    first, second = cues(said(long, each=0.1))
    assert " ".join(first.lines).endswith("fill,")
    assert second.start == pytest.approx(first.end)


def test_a_cue_is_shown_for_seven_seconds_at_most():
    found = cues(said("a b c d e f g h i j k l", each=1.0))
    assert [cue.end - cue.start for cue in found] == [7.0, 5.0]


def test_scripts_without_spaces_break_between_characters():
    (text,) = said("今天天气很好" * 10, each=6.0)
    found = cues([text])
    assert "".join("".join(cue.lines) for cue in found) == text.text
    assert max(len(line) for cue in found for line in cue.lines) <= LINE // 2, "wide characters count twice"


words = st.text(alphabet="abcdefghij.,!今天", min_size=1, max_size=60)
timed = st.lists(st.tuples(words, st.floats(0, 3), st.floats(0, 3)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(timed)
def test_every_word_appears_once_in_order_within_the_limits(parts):
    clock, given_words = 0.0, []
    for text, pause, length in parts:
        given_words.append(Word(text, clock + pause, clock + pause + length))
        clock += pause + length
    found = cues(given_words)
    shown = "".join(line for cue in found for line in cue.lines)
    assert re.sub(r"\s", "", shown) == "".join(word.text for word in given_words)
    for cue, after in itertools.pairwise(found):
        assert cue.end <= after.start + 1e-9
    for cue in found:
        assert len(cue.lines) <= 2
        assert max(map(len, cue.lines)) <= LINE
        assert cue.end - cue.start <= LONGEST + 1e-9


def test_words_of_tokens():
    pieces = [" one", " two", ",", " th", "ree", "今", "天", ""]
    found = by_word(pieces, [0.0, 0.2, 0.4, 0.5, 0.7, 0.9, 1.0, 1.2, 1.3])
    assert found == [("one", 0.0, 0.2), ("two,", 0.2, 0.5), ("three", 0.5, 0.9), ("今", 0.9, 1.0), ("天", 1.0, 1.2)]


def test_words_without_times_share_what_is_left():
    found = interpolated(["a", "bb", "c", "d"], [(1.0, 2.0), None, (5.0, 6.0), None], 8.0)
    assert found == [("a", 1.0, 2.0), ("bb", 2.0, 5.0), ("c", 5.0, 6.0), ("d", 6.0, 8.0)]
    assert spread(["a", "bbb"], 0.0, 2.0) == [("a", 0.0, 0.5), ("bbb", 0.5, 2.0)]
    assert interpolated([], [], 1.0) == []
