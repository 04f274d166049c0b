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
            "mister smith paid 1000 for 3.5 percent twenty five times",
        ),
        ("3 5 7", "three five seven"),
        ("357 12.", "357 12"),
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
        ("fa", "می\N{ZERO WIDTH NON-JOINER}خواهم", "میخواهم"),
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
    assert normalizer("en")("9" * 5000) == "9" * 5000


def test_none_changes_nothing() -> None:
    assert normalizer("en", "none")(" It's, A. ") == " It's, A. "


def test_normalizing_twice_changes_nothing_more() -> None:
    for language, text in [("en", "Don't stop: 7 o'clock, Dr. Who's 1,000."), ("hi", "क्या?"), ("tr", "İI")]:
        once = normalizer(language)(text)
        assert normalizer(language)(once) == once


def test_unknown_normalizer_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^unknown normalizer 'wisper'; did you mean 'whisper'\?$"):
        normalizer("en", "wisper")
    with pytest.raises(ConfigError, match=r"^unknown normalizer 'x'; there are: default, whisper, none$"):
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
