"""The normalizer of an evaluation: its name with its version, and functions of the user's."""

import pytest

from antiphon.errors import ConfigError, DataError
from antiphon.evaluate.normalizers import load_normalizer
from antiphon.text.normalize import RULES, normalizer


@pytest.fixture
def rules(tmp_path):
    """A file of functions, by the spec of one of them."""

    def write(source: str, function: str) -> str:
        path = tmp_path / "rules.py"
        path.write_text(source)
        return f"{path}:{function}"

    return write


def test_built_in_rules_are_named_with_all_that_they_depend_on():
    assert load_normalizer().name.startswith("default 3 (Whisper's rules ")
    assert "Unicode" in load_normalizer("whisper").name
    assert load_normalizer("none").name == "none"
    assert load_normalizer("none").clean("en")("As It Is!") == "As It Is!"
    assert load_normalizer("default").clean("en")("It's 5!") == "it is five"
    with pytest.raises(ConfigError, match=r"unknown normalizer 'wisper'; did you mean 'whisper'\?"):
        load_normalizer("wisper")


VERSION_3 = {
    (
        "en",
        "Dr. Smith's colour: $5, 1,000 & 20%",
    ): "doctor smith is color five dollars one thousand and twenty percent",
    ("en", "kinda the cause"): "kinda the cause",
    ("ar", "أُحِبّ"): "احب",
    ("de", "Straße – ÄPFEL!"): "strasse äpfel",
    ("hi", "किताब, क्या?"): "किताब क्या",
    ("tr", "IŞIK İl"): "ışık il",
}


def test_other_default_rules_have_another_version():
    cleaned = {(language, text): normalizer(language)(text) for language, text in VERSION_3}
    assert cleaned == VERSION_3, "raise antiphon.text.normalize.RULES, and say here what the new rules make of these"
    assert RULES == 3


def test_a_function_of_the_users_takes_a_text_and_if_it_wants_the_language(rules):
    source = "def up(text):\n    return text.upper()\ndef tag(text, language):\n    return f'{language} {text}'\n"
    spec = rules(source, "up")
    plain, tagged = load_normalizer(spec), load_normalizer(spec.replace(":up", ":tag"))
    assert plain.clean("de")("ja") == "JA"
    assert tagged.clean("de")("ja") == "de ja"
    assert plain.name.startswith(f"{spec} (sha256 ")
    changed = load_normalizer(rules("def up(text):\n    return text.upper().strip()\n", "up"))
    assert changed.name != plain.name


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("return 3", ConfigError, r"returned int; it must return a str"),
        ("return text[99]", DataError, r"failed on 'hello': IndexError: .* \[rules.py, line 2\]; correct it"),
    ],
)
def test_a_function_that_fails_is_named(rules, body, error, message):
    clean = load_normalizer(rules(f"def bad(text):\n    {body}\n", "bad")).clean(None)
    with pytest.raises(error, match=message):
        clean("hello")


def test_a_file_that_is_not_there_is_said_to_be_a_normalizers():
    with pytest.raises(ConfigError, match=r"the normalizer 'nowhere.py:clean': there is no file nowhere.py"):
        load_normalizer("nowhere.py:clean")
