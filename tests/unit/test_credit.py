"""Credit from the edit alignment, worked by hand: who wrote the word that is wrong, and who left one out."""

import pytest

from antiphon.builtin.architecture import build_processor
from antiphon.text.credit import edit_credit
from antiphon.train.credit import token_spans


def spans_of(*pieces: str | None) -> tuple[str, list[tuple[int, int] | None]]:
    """A text from the pieces its tokens wrote, and their spans; None for a token that wrote nothing."""
    text, spans = "", []
    for piece in pieces:
        spans.append(None if piece is None else (len(text), len(text) + len(piece)))
        text += piece or ""
    return text, spans


def credit(pieces: tuple[str | None, ...], reference: str, language: str | None = "en", stopped: bool = True):
    text, spans = spans_of(*pieces)
    values = edit_credit(text, spans, reference, language, stopped)
    assert sum(values) == pytest.approx(0, abs=1e-9)
    return values


def test_no_edit_is_no_credit():
    assert credit(("turn", " left", None), "turn left") == [0, 0, 0]


def test_a_substitution_goes_to_its_own_token():
    # c = (0, −1, 0), mean −1/3.
    assert credit(("turn", " right", None), "turn left") == pytest.approx([1 / 3, -2 / 3, 1 / 3])


def test_a_word_of_several_tokens_shares_its_edit():
    # c = (0, −1/2, −1/2, 0), mean −1/4.
    assert credit(("turn", " ri", "ght", None), "turn left") == pytest.approx([1 / 4, -1 / 4, -1 / 4, 1 / 4])


def test_an_insertion_goes_to_its_own_token():
    assert credit(("turn", " it", " left", None), "turn left") == pytest.approx([1 / 4, -3 / 4, 1 / 4, 1 / 4])


def test_a_deletion_goes_to_the_token_before_the_gap():
    assert credit(("turn", " right", None), "turn to the right") == pytest.approx([-2 + 2 / 3, 2 / 3, 2 / 3])


def test_a_deletion_at_the_beginning_goes_to_the_token_that_came_instead():
    assert credit(("left", None), "turn left") == pytest.approx([-1 / 2, 1 / 2])


def test_a_deletion_at_the_end_goes_to_the_stop_token():
    assert credit(("turn", None), "turn left now") == pytest.approx([1, -1])


def test_without_a_stop_token_it_goes_to_the_last():
    assert credit(("turn", " to"), "turn to left", stopped=False) == pytest.approx([1 / 2, -1 / 2])


def test_an_empty_hypothesis_blames_the_stop_token_alone_so_nothing_is_told_apart():
    assert credit((None,), "turn left") == [0]
    assert edit_credit("", [], "turn left", "en", False) == []


def test_framing_is_neutral():
    # Two tokens of a language tag, then c = (−1, 0, 0) over the three that count.
    values = credit((None, None, "burn", " left", None), "turn left")
    assert values == pytest.approx([0, 0, -2 / 3, 1 / 3, 1 / 3])


def test_punctuation_that_the_normalizer_drops_is_neutral():
    values = credit(("turn", ",", " right", ".", None), "turn left")
    assert values[1] == values[3] == 0
    assert values[2] == pytest.approx(-2 / 3)


def test_a_contraction_is_several_words_of_one_stretch():
    # "can't" is "can not" once normalized: two units over the tokens "can" and "'t".
    values = credit(("I", " can", "'t", " go", None), "I can not stay")
    assert values[3] == min(values)
    assert values[:3] == pytest.approx([values[0]] * 3)


def test_words_that_the_normalizer_joins_are_one():
    # "it 's" is "it is"; "1,000" is "one thousand", of which "1" wrote the wrong word: c = (−1, 0, 0, 0, 0), mean −1/5.
    assert credit(("it", " 's", " cold", None), "it's cold") == [0, 0, 0, 0]
    values = credit(("1", ",", "000", " men", None), "2000 men")
    assert values == pytest.approx([-4 / 5, 1 / 5, 1 / 5, 1 / 5, 1 / 5])


def test_a_digit_is_the_word_it_stands_for():
    assert credit(("seven", " 2", None), "seven two") == [0, 0, 0]
    assert credit(("seven", " 2", None), "seven three")[1] < 0


def test_chinese_counts_characters_one_by_one():
    # 打开灯 for 打开门: the last of three characters, and tokens of two characters share what is theirs.
    assert credit(("打开", "灯", None), "打开门", "zh") == pytest.approx([1 / 3, -2 / 3, 1 / 3])
    assert credit(("打", "关灯", None), "打开门", "zh") == pytest.approx([2 / 3, -4 / 3, 2 / 3])


def test_spans_of_the_built_in_recognizer_cover_the_answer_and_nothing_else():
    tokenizer = build_processor().tokenizer
    ids = tokenizer("language English<asr_text>turn left at the library")["input_ids"]
    ids = (*ids, tokenizer.convert_tokens_to_ids("<|im_end|>"))
    text = tokenizer.decode(ids, skip_special_tokens=True)
    answer = "turn left at the library"
    spans = token_spans(tokenizer, ids, text, answer)
    written = [span for span in spans if span]
    assert "".join(answer[begin:end] for begin, end in written) == answer
    assert spans[0] is None
    assert spans[-1] is None


class Bytes:
    """A tokenizer of UTF-8 bytes, so that a character takes several tokens."""

    all_special_ids: tuple[int, ...] = ()

    def batch_decode(self, rows, skip_special_tokens=True):
        return [bytes(row).decode(errors="replace") for row in rows]


def test_tokens_that_make_one_character_share_it():
    ids = tuple("né".encode())
    assert token_spans(Bytes(), ids, "né", "né") == [(0, 1), (1, 2), (1, 2)]
