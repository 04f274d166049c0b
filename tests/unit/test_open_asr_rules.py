"""The leaderboard's rules on phrases whose values its own code gave, and words that are written together or apart."""

import pytest

from antiphon.text.alignment import word_errors
from antiphon.text.compounds import as_in
from antiphon.text.normalize import normalizer, versioned

PHRASES = [
    ("It's half past three", "it is 3 30"),
    ("a quarter to four", "3 45"),
    ("ten minutes past twelve", "12 10"),
    ("at ten o'clock", "at 10"),
    ("at 10:00", "at 10"),
    ("3:30 p.m.", "3 30 pm"),
    ("oh no", "oh no"),
    ("four oh one", "401"),
    ("oh seven nine eight", "0798"),
    ("oh oh", "oh oh"),
    ("nineteen oh five", "1905"),
    ("he said uhh erm what", "he said what"),
    ("huh, aha! ahem", ""),
    ("mmm okay mm-hmm", "okay"),
    ("Alan met Stewart", "allen met stuart"),
    ("John's e-mail", "john s email"),
    ("it's what he's got", "it is what he has got"),
    ("the B B C and 5 G", "the bbc and 5g"),
    ("a i research", "a i research"),
    ("I O U", "i0u"),
    ("all right then", "alright then"),
    ("wi fi or hi-fi", "wifi or hifi"),
    ("et cetera", "etc"),
    ("O.K., o.k.", "okay okay"),
    ("twenty one dollars and 5 cents", "$21.05"),
    ("$20 million", "$20000000"),
    ("1,234 people", "1234 people"),
    ("won't y'all", "will not you all"),
    ("the colour of archaeology", "the color of archeology"),
    ("double oh seven", "007"),
    ("point oh five", ".05"),
    ("minus five", "-5"),
    ("a hundred and one", "a 101"),
    ("two and a half", "2.5"),
    ("[noise] hello (laughs)", "hello"),
    ("ohhh really", "oh really"),
    ("ok kay", "okay okay"),
    ("Mr. Kelley's flyer", "mister kelly s flier"),
    ("café naïve", "cafe naive"),
    ("50% off", "50% off"),
]


@pytest.mark.parametrize(("text", "clean"), PHRASES)
def test_phrases_are_normalized_as_the_leaderboard_does(text: str, clean: str) -> None:
    assert normalizer("en", "open-asr")(text) == clean


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits"),
    [
        ("the white paper is here", "the whitepaper was here", 1),
        ("whitepaper", "white paper", 0),
        ("a b c", "abc", 0),
        ("ab c", "a bc", 2),
        ("white paper", "whitepaper x", 1),
        ("whitepaper", "white", 1),
    ],
)
def test_words_together_or_apart_are_right(reference: str, hypothesis: str, edits: int) -> None:
    """The counts are kaldialign's with `merge_compounds`; the reference keeps its number of words."""
    errors = word_errors(reference, " ".join(as_in(reference.split(), hypothesis.split())), normalizer_name="none")
    assert (errors.edits, errors.ref_len) == (edits, len(reference.split()))


def test_the_rules_have_a_name_and_a_version() -> None:
    assert versioned("open-asr").startswith("open-asr 1 (")
    assert word_errors("an e-mail", "an email", "en", normalizer_name="open-asr").edits == 0
    assert word_errors("the white paper", "the whitepaper", None, normalizer_name="open-asr").edits == 0
    assert normalizer("de", "open-asr").rules == "general"
