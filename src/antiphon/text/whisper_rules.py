"""Whisper's own text rules: transformers has the code (Apache 2.0), this package the table of spellings.

Both are OpenAI's (Radford et al. 2022, arXiv 2212.04356, appendix C); a test compares them with openai-whisper. This is
the only module that imports the code, when rules are first asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from antiphon.errors import DataError

TABLE = "spellings.json"


@cache
def spellings() -> dict[str, str]:
    """British spellings -> American, and a few sounds, as openai-whisper lists them, errors included."""
    return json.loads((files("antiphon.text") / TABLE).read_bytes())


@cache
def english_code() -> Any:
    """transformers' module of the rules."""
    from transformers.models.whisper import english_normalizer

    return english_normalizer


@cache
def digest() -> str:
    """Tells other versions of the rules apart: of their code and table, 8 hexadecimal digits."""
    code = Path(english_code().__file__).read_bytes()
    return hashlib.sha256(code + (files("antiphon.text") / TABLE).read_bytes()).hexdigest()[:8]


def english() -> Callable[[str], str]:
    """Whisper's English rules. They raise `DataError` for numbers with thousands of digits."""
    return _checked(english_code().EnglishTextNormalizer(spellings()))


def basic() -> Callable[[str], str]:
    """Whisper's rules for other languages."""
    return _checked(english_code().BasicTextNormalizer())


def contractions() -> dict[str, str]:
    """Regular expressions of contractions and titles -> the words they stand for, in the order they apply in."""
    return english_code().EnglishTextNormalizer(spellings()).replacers


def _checked(rules: Callable[[str], str]) -> Callable[[str], str]:
    def clean(text: str) -> str:
        try:
            return rules(text).strip()
        except (AssertionError, ValueError) as error:
            raise DataError(
                f"Whisper's normalizer cannot read the text {text[:60]!r} of {len(text)} characters; "
                "use the normalizer 'default'"
            ) from error

    return clean
