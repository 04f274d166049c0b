"""A reasoning model's text is cut into thoughts and answer, as a whole and as it grows."""

import pytest

from antiphon.text.thoughts import split

CASES = [
    ("four", False, ("", "four")),
    (" a < b", False, ("", " a < b")),
    ("<think>two and two</think>\n\nfour", False, ("two and two", "four")),
    ("two and two</think>four", True, ("two and two", "four")),
    ("<think>and so on", False, ("and so on", "")),
    ("a</think>b</think>c", True, ("a", "b</think>c")),
    ("<thin", False, ("", "<thin")),
    ("", True, ("", "")),
]


@pytest.mark.parametrize(("text", "thinks", "parts"), CASES)
def test_thoughts_are_told_apart_from_the_answer(text, thinks, parts):
    assert split(text, thinks) == parts


@pytest.mark.parametrize(("text", "thinks", "parts"), CASES)
def test_parts_only_grow_while_the_text_does(text, thinks, parts):
    before = ("", "")
    for length in range(len(text) + 1):
        now = split(text[:length], thinks, ended=False)
        assert now[0].startswith(before[0])
        assert now[1].startswith(before[1])
        before = now
    assert all(whole.startswith(part) for whole, part in zip(parts, before, strict=True))


def test_half_a_character_waits_for_its_rest():
    assert split("caf\ufffd", False, ended=False) == ("", "caf")
