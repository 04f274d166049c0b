"""Text normalizers, applied to transcripts before errors are counted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Literal, get_args

from antiphon.errors import ConfigError, did_you_mean
from antiphon.text import whisper_rules
from antiphon.text.english import English
from antiphon.text.open_asr import VERSION as OPEN_ASR
from antiphon.text.open_asr import OpenAsr
from antiphon.text.plain import plain, turkic
from antiphon.text.scripts import arabic, hebrew, persian

NormalizerName = Literal["default", "whisper", "open-asr", "none"]

RULES = 3
"""Version of `default`, and of how errors are counted. Incremented whenever the normalized text of any transcript
changes, its units in `antiphon.text.alignment.units`, or how ties between substitutions, deletions and insertions are
broken, as figures then change. Version 2 counts Korean by characters; 3 has OpenAI's own English rules, numbers in one
form, rules for Arabic, Persian and Hebrew, and sclite's choice of ties."""

_REMEMBERED_TEXTS = 1 << 15

_LANGUAGES: dict[str, tuple[str, Callable[[str], str]]] = {
    **dict.fromkeys(["tr", "tur", "turkish", "az", "aze", "azerbaijani"], ("Turkic", turkic)),
    **dict.fromkeys(["ar", "ara", "arb", "arabic"], ("Arabic", arabic)),
    **dict.fromkeys(["fa", "fas", "per", "pes", "persian", "farsi"], ("Persian", persian)),
    **dict.fromkeys(["he", "heb", "iw", "hebrew"], ("Hebrew", hebrew)),
}
_ENGLISH = {"en", "eng", "english"}


class Normalize:
    """The rules for the texts of one language. Results are remembered."""

    def __init__(
        self, rules: str, clean: Callable[[str], str], fitted: Callable[[str, str], str] | None = None
    ) -> None:
        """`fitted` cleans a hypothesis in the light of its reference; without it, texts are cleaned one by one."""
        self.rules = rules
        """Whose rules they are, such as "English"; results name them."""
        self._clean = lru_cache(maxsize=_REMEMBERED_TEXTS)(clean)
        self._fitted = fitted and lru_cache(maxsize=_REMEMBERED_TEXTS)(fitted)

    def __call__(self, text: str) -> str:
        return self._clean(text)

    def pair(self, reference: str, hypothesis: str) -> tuple[str, str]:
        """Both texts, ready to be compared. The reference is the same whatever the hypothesis."""
        heard = self._fitted(reference, hypothesis) if self._fitted else self._clean(hypothesis)
        return self._clean(reference), heard


def normalizer(language: str | None, name: str = "default") -> Normalize:
    """The normalizer for transcripts in `language`, a code or English name: "en", "en-GB", "English".

    `default`
        For English: contractions are expanded and British spellings made American, as Whisper's normalizer
        does (Radford et al. 2022, appendix C), and numbers in figures become words. Unlike Whisper's, it never joins
        number words ("one two three" stays three words, not "123"), so WER counts words as spoken, and it keeps
        fillers and bracketed text, so that they count as errors. `pair` reads a figure as the other text says it.
        For Arabic, Persian and Hebrew: without vowel marks, and letters in one form (`antiphon.text.scripts`).
        For all other languages, and None: NFKC, casefolding, punctuation and symbols to spaces. Letters, marks
        and digits of every script are kept, including Brahmic vowel signs.
    `whisper`
        Whisper's own English and basic normalizers, for comparison with published results.
    `open-asr`
        The English rules of the Open ASR Leaderboard (`antiphon.text.open_asr`), for English and for no language; for
        others, Whisper's basic normalizer.
    `none`
        The text unchanged.

    Raises `ConfigError` for any other name. Whisper's rules raise `DataError` for numbers with thousands of digits.
    """
    if name not in get_args(NormalizerName):
        raise ConfigError(f"unknown normalizer {name!r}; {did_you_mean(name, get_args(NormalizerName))}")
    return _build(_base_language(language), name)


@cache
def versioned(name: str) -> str:
    """The normalizer's name with the versions that its results depend on; rates are comparable if these are equal."""
    if name == "none":
        return name
    version = {"default": f"default {RULES}", "whisper": "whisper", "open-asr": f"open-asr {OPEN_ASR}"}[name]
    return f"{version} (Whisper's rules {whisper_rules.digest()}, Unicode {unicodedata.unidata_version})"


def _base_language(language: str | None) -> str:
    """The language without its region: "en" for "en_GB"."""
    return re.split(r"[-_]", (language or "").strip().casefold())[0]


@cache
def _build(language: str, name: str) -> Normalize:
    if name == "none":
        return Normalize("none", str)
    if name == "open-asr" and language in (*_ENGLISH, ""):
        leaderboard = OpenAsr()
        return Normalize("English", leaderboard, leaderboard.fitted)
    if name == "open-asr":
        name = "whisper"
    if language in _ENGLISH:
        if name == "whisper":
            return Normalize("English", whisper_rules.english())
        rules = English()
        return Normalize("English", rules, rules.fitted)
    if name == "whisper":
        return Normalize("general", whisper_rules.basic())
    return Normalize(*_LANGUAGES.get(language, ("general", plain)))
