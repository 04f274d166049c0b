"""Text normalizers, applied to transcripts before errors are counted."""

from __future__ import annotations

import importlib.metadata
import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Literal, get_args

from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from antiphon.errors import ConfigError, DataError, did_you_mean

NormalizerName = Literal["default", "whisper", "none"]
Normalize = Callable[[str], str]

RULES = 2
"""Version of `default`. Incremented whenever the normalized text of any transcript changes, or its units in
`antiphon.text.alignment.units`, as error rates then change. Version 2 counts Korean by characters."""

_REMEMBERED_TEXTS = 1 << 15

_ENGLISH = {"en", "eng", "english"}
_DOTTED_I = {"tr", "tur", "turkish", "az", "aze", "azerbaijani"}

_APOSTROPHES = str.maketrans(dict.fromkeys("‘’ʼ′`´", "'"))
_TURKIC_CAPITALS = str.maketrans({"İ": "i", "I": "ı"})
_DIGIT_WORDS = {
    "0": "zero",
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
}
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_DECIMAL_POINT = re.compile(r"(?<=\d)\.(?=\d)")


def normalizer(language: str | None, name: str = "default") -> Normalize:
    """The normalizer for transcripts in `language`, a code or English name: "en", "en-GB", "English".

    `default`
        For English: contractions are expanded and British spellings made American, as Whisper's normalizer
        does (Radford et al. 2022, appendix C), and single digits are spelled out. Unlike Whisper's, it never joins
        number words ("one two three" stays three words, not "123"), so WER counts words as spoken, and it keeps
        fillers and bracketed text, so that they count as errors.
        For all other languages, and None: NFKC, casefolding, punctuation and symbols to spaces. Letters, marks
        and digits of every script are kept, including Brahmic vowel signs.
    `whisper`
        Whisper's own English and basic normalizers, for comparison with published results.
    `none`
        The text unchanged.

    Results are cached per text. Raises `ConfigError` for any other name. Whisper's rules raise `DataError` for
    numbers with thousands of digits.
    """
    if name not in get_args(NormalizerName):
        raise ConfigError(f"unknown normalizer {name!r}; {did_you_mean(name, get_args(NormalizerName))}")
    return _build(_base_language(language), name)


def versioned(name: str) -> str:
    """The normalizer's name with the versions that its results depend on; rates are comparable if these are equal."""
    tables = f"whisper-normalizer {importlib.metadata.version('whisper-normalizer')}"
    unicode = f"Unicode {unicodedata.unidata_version}"
    return {"default": f"default {RULES} ({tables}, {unicode})", "whisper": f"whisper ({tables}, {unicode})"}.get(
        name, name
    )


def _base_language(language: str | None) -> str:
    """The language without its region: "en" for "en_GB"."""
    return re.split(r"[-_]", (language or "").strip().casefold())[0]


@cache
def _build(language: str, name: str) -> Normalize:
    clean: Normalize
    if name == "none":
        return str
    if name == "whisper":
        clean = _Whisper(EnglishTextNormalizer() if language in _ENGLISH else BasicTextNormalizer())
    elif language in _ENGLISH:
        clean = _English()
    elif language in _DOTTED_I:
        clean = lambda text: _unicode_words(text.translate(_TURKIC_CAPITALS))  # noqa: E731
    else:
        clean = _unicode_words
    return lru_cache(maxsize=_REMEMBERED_TEXTS)(clean)


def _fold(text: str) -> str:
    # Casefolding can undo NFKC, and turns the Turkish capital dotted I into an i with a combining dot above.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.replace("i\N{COMBINING DOT ABOVE}", "i")


def _keep_words(text: str) -> str:
    """Keep letters, digits, their marks and decimal points; everything else separates words.

    Format characters (soft hyphens, joiners) and variation selectors are removed without separating words.
    """
    text = _VARIATION_SELECTOR.sub("", text)
    points = {match.start() for match in _DECIMAL_POINT.finditer(text)}
    kept = [" "]
    for position, character in enumerate(text):
        category = unicodedata.category(character)
        on_a_letter = category in ("Mn", "Mc") and kept[-1] != " "
        if category[0] in "LN" or on_a_letter or position in points:
            kept.append(character)
        elif category not in ("Cf", "Me"):
            kept.append(" ")
    return " ".join("".join(kept).split())


def _unicode_words(text: str) -> str:
    return _keep_words(_fold(text))


class _Whisper:
    def __init__(self, rules: Normalize) -> None:
        self._rules = rules

    def __call__(self, text: str) -> str:
        try:
            return self._rules(text).strip()
        except (AssertionError, ValueError) as error:  # Numbers with thousands of digits.
            raise DataError(
                f"Whisper's normalizer cannot read the text {text[:60]!r} of {len(text)} characters; "
                "use the normalizer 'default'"
            ) from error


class _English:
    """Whisper's contraction and spelling tables, applied without its number rules and deletions."""

    def __init__(self) -> None:
        whisper = EnglishTextNormalizer()
        self._contractions = [(re.compile(pattern), full) for pattern, full in whisper.replacers.items()]
        self._american: dict[str, str] = whisper.standardize_spellings.mapping

    def __call__(self, text: str) -> str:
        text = " ".join(_fold(text.translate(_APOSTROPHES)).split()).replace(" '", "'")
        for pattern, full in self._contractions:
            text = pattern.sub(full, text)
        text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
        text = text.replace("%", " percent ").replace("&", " and ")
        words = _keep_words(_without_latin_accents(text)).split()
        return " ".join(_DIGIT_WORDS.get(word) or self._american.get(word, word) for word in words)


def _without_latin_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", decomposed))
