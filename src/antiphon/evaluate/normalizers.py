"""The normalizer of an evaluation: a built-in one or a user's function, with the version that figures carry."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from antiphon.config.plugins import Kind, is_path
from antiphon.errors import ConfigError, DataError, describe
from antiphon.text.normalize import Normalize, normalizer, versioned

NORMALIZER = Kind("normalizer", function=True)


@dataclass(frozen=True)
class Normalizer:
    """What makes transcripts comparable before they are compared."""

    name: str
    """With its version, as results state it. Figures under different names cannot be compared."""
    clean: Callable[[str | None], Normalize]
    """From a language, or None, to the function for its texts."""


def load_normalizer(spec: str = "default") -> Normalizer:
    """The built-in normalizer `spec`, or the function that `module:function` or `file.py:function` names.

    A user's function takes a text, or a text and its language (a str or None), and returns the text to compare. Its
    version is a digest of its source file. Raises `ConfigError` when there is no such normalizer; what the function
    raises comes as `DataError` with the text.
    """
    if not is_path(spec):
        normalizer(None, spec)
        return Normalizer(versioned(spec), lambda language: normalizer(language, spec))
    function = NORMALIZER.load(spec)
    return Normalizer(
        f"{spec} ({_digest(function)})", lambda language: Normalize(spec, _checked(function, spec, language))
    )


def _checked(function: Callable[..., str], spec: str, language: str | None) -> Callable[[str], str]:
    takes_language = len(inspect.signature(function).parameters) > 1

    def clean(text: str) -> str:
        try:
            cleaned = function(text, language) if takes_language else function(text)
        except Exception as error:
            said = f"the normalizer {spec!r} failed on {text[:60]!r}: {describe(error)}; correct it"
            raise DataError(said) from error
        if not isinstance(cleaned, str):
            raise ConfigError(f"the normalizer {spec!r} returned {type(cleaned).__name__}; it must return a str")
        return cleaned

    return clean


def _digest(function: Callable[..., str]) -> str:
    file = getattr(inspect.getmodule(function), "__file__", None)
    if file is None:
        return "unversioned"
    return f"sha256 {hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]}"
