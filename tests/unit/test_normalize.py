"""What normalization makes equal, and what it must leave apart."""

import pytest

from antiphon.errors import ConfigError, DataError
from antiphon.text.alignment import units
from antiphon.text.normalize import normalizer


@pytest.mark.parametrize("language", ["en", "English", "EN", "en-GB", "en_US", " english "])
def test_codes_names_and_regions_all_select_english(language: str) -> None:
    assert normalizer(language)("It's the COLOUR!") == "it is the color"


def test_english_number_words_stay_apart_where_whisper_joins_them() -> None:
    assert normalizer("en")("One two, three.") == "one two three"
    assert normalizer("en", "whisper")("One two, three.") == "123"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("I won't, can’t & shouldn't've", "i will not can not and should not have"),
        (
            "Mr. Smith paid 1,000 for 3.5% twenty-five times.",
            "mister smith paid one thousand for three point five percent twenty five times",
        ),
        ("3 5 7", "three five seven"),
        ("357 12.", "three hundred fifty seven twelve"),
        ("mp3 b2b covid19 3d", "mp3 b2b covid19 3d"),
        ("ʻOne‛s ‘own’ wayʼ", "one is own way"),
        ("the cause, kinda sorta, dunno", "the cause kinda sorta dunno"),
        ("Café naïve ½", "cafe naive one two"),
        ("[noise] uh (really)", "noise uh really"),
        ("I ❤️ U 1️⃣", "i u one"),
        ("  \t\n", ""),
        ("...", ""),
    ],
)
def test_english_default(text: str, clean: str) -> None:
    assert normalizer("en")(text) == clean


@pytest.mark.parametrize(
    ("language", "text", "clean"),
    [
        ("hi", "नमस्ते, दुनिया!", "नमस्ते दुनिया"),
        ("ru", "Привет, МИР — ёж!", "привет мир ёж"),
        ("zh", "你好，世界！１２３", "你好 世界 123"),
        ("ja", "ﾄｳｷｮｳタワー。", "トウキョウタワー"),
        ("ko", "안녕하세요, 세계!", "안녕하세요 세계"),
        ("ar", "مرحبا، بالعالم؟", "مرحبا بالعالم"),
        ("ar-EG", "السَّلامُ عليكم، أهلاً إلى آخر ســـؤال ١٢٣", "السلام عليكم اهلا الى اخر سوال 123"),
        ("Arabic", "ا\N{ARABIC HAMZA ABOVE}ن شيء ﻻ کی", "ان شي لا كي"),
        ("fa", "می\N{ZERO WIDTH NON-JOINER}خواهم", "میخواهم"),
        ("fa", "كتابِ عليّ، آبِ ۱۲۳ خانۀ", "کتاب علی آب 123 خانه"),
        ("he", "שָׁלוֹם, צה\"ל וצה״ל ג'ירפה ג׳ירפה", "שלום צהל וצהל גירפה גירפה"),
        ("de", "Straße, GRÖSSE", "strasse grösse"),
        ("fr", "L’Été e\N{COMBINING ACUTE ACCENT}tait «beau»", "l été était beau"),
        ("tr", "İSTANBUL IŞIK", "istanbul ışık"),
        (None, "İt's one-two 3", "it s one two 3"),
        (None, "co\N{SOFT HYPHEN}operate", "cooperate"),
    ],
)
def test_other_languages_keep_every_letter_mark_and_digit(language: str | None, text: str, clean: str) -> None:
    assert normalizer(language)(text) == clean


def test_english_rules_do_not_empty_other_scripts() -> None:
    assert normalizer("en")("नमस्ते Привет 你好") == "नमस्ते привет 你好"


def test_whisper_outside_english_is_its_basic_normalizer() -> None:
    assert normalizer("fr", "whisper")(" (rires) L'Été! ") == "l été"


def test_a_number_that_whisper_cannot_read_is_named() -> None:
    with pytest.raises(DataError, match=r"^Whisper's normalizer cannot read the text '99.* of 5000 characters; use"):
        normalizer("en", "whisper")("9" * 5000)
    assert normalizer("en")("9" * 5000) == " ".join(["nine"] * 5000)


def test_none_changes_nothing() -> None:
    assert normalizer("en", "none")(" It's, A. ") == " It's, A. "


def test_normalizing_twice_changes_nothing_more() -> None:
    for language, text in [("en", "Don't stop: 7 o'clock, Dr. Who's 1,000."), ("hi", "क्या?"), ("tr", "İI")]:
        once = normalizer(language)(text)
        assert normalizer(language)(once) == once


@pytest.mark.parametrize(
    ("reference", "hypothesis", "same"),
    [
        ("twenty one", "21", "twenty one"),
        ("21", "twenty-one", "twenty one"),
        ("eight four seven eight seven zero", "847 870", "eight four seven eight seven zero"),
        ("847 870", "eight four seven eight seven zero", "eight hundred forty seven eight hundred seventy"),
        ("847 870", "847870", "eight hundred forty seven eight hundred seventy"),
        ("one hundred and five", "105", "one hundred and five"),
        ("in nineteen oh five", "in 1905", "in nineteen oh five"),
        ("in 1984", "in one thousand nine hundred eighty four", "in nineteen eighty four"),
        ("the 21st of May", "the twenty first of may", "the twenty first of may"),
        ("the sixties", "the 60s", "the sixties"),
        ("five eight four", "584", "five eight four"),
        ("double oh seven is five", "double oh seven is 5", "double oh seven is five"),
        ("$5 and £1", "five dollars and one pound", "five dollars and one pound"),
        ("three point one four", "3.14", "three point one four"),
        ("1,000", "a thousand", "one thousand"),
    ],
)
def test_a_number_in_figures_equals_each_way_of_saying_it(reference: str, hypothesis: str, same: str) -> None:
    assert normalizer("en").pair(reference, hypothesis) == (same, same)


def test_a_wrong_number_is_read_as_its_reference_is_said() -> None:
    assert normalizer("en").pair("eight four seven", "846") == ("eight four seven", "eight four six")
    assert normalizer("en").pair("eight hundred forty seven", "846")[1] == "eight hundred forty six"
    assert normalizer("en").pair("a word", "846")[1] == "eight hundred forty six"


def test_two_numbers_in_words_are_compared_as_words() -> None:
    said, heard = normalizer("en").pair("two thousand one hundred", "twenty one hundred")
    assert said != heard


def test_the_reference_is_the_same_whatever_was_heard() -> None:
    clean = normalizer("en")
    heard = ["847 870", "eight four seven", "847870", "", "nothing"]
    assert {clean.pair("847 870", one)[0] for one in heard} == {clean("847 870")}


def test_rules_have_names() -> None:
    rules = {normalizer(one).rules for one in ("en", "en-GB", "Arabic", "fa", "he", "tr", "de", None)}
    assert rules == {"English", "Arabic", "Persian", "Hebrew", "Turkic", "general"}
    assert normalizer("de", "whisper").rules == "general"
    assert normalizer("en", "none").rules == "none"


def test_unknown_normalizer_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^unknown normalizer 'wisper'; did you mean 'whisper'\?$"):
        normalizer("en", "wisper")
    with pytest.raises(ConfigError, match=r"^unknown normalizer 'x'; there are: default, whisper, open-asr, none$"):
        normalizer("en", "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set a timer", ["set", "a", "timer"]),
        ("你好 世界 3个 ok", ["你", "好", "世", "界", "3", "个", "ok"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("안녕 세계 ok", ["안", "녕", "세", "계", "ok"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("வணக்கம் உலகம்", ["வணக்கம்", "உலகம்"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("", []),
    ],
)
def test_units_are_words_or_characters_by_script(text: str, expected: list[str]) -> None:
    assert units(text) == expected
