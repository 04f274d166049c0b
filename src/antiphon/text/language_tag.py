"""Qwen3-ASR's answer format, "language English<asr_text>hello". No other module knows it."""

from __future__ import annotations

import regex

from antiphon.types import Text

TAG = "<asr_text>"
_OPENING = "language"
_FRAME = regex.compile(rf"{_OPENING} (?P<name>None|\p{{Lu}}\p{{L}}*(?:[ ,]+\p{{Lu}}\p{{L}}*)*){TAG}")
"""A language is named as in English: "Chinese", "Cantonese", "English,Chinese"."""
_NAMED = regex.compile(rf"{_OPENING} (?P<name>.+?){TAG}")


def tagged(text: str, language: str | None) -> str:
    """Format `text` as the model does; `language` is an English name, or None if unknown."""
    return f"{_OPENING} {language or 'None'}{TAG}{text}"


def untagged(text: str, forced: bool = False) -> Text:
    """The inverse of `tagged`. Unlike the processor's parser, it keeps repetitions.

    A tag that breaks off before its text ("language English", "language English<asr") is an empty answer. The word
    "language" alone is one unless the language was `forced`: then the tag stands in the prompt, and it may be all that
    was said.
    """
    begun = text.strip()
    if begun.startswith(_OPENING) and may_be_tag(begun) and not (forced and begun == _OPENING):
        return Text("")
    named = _NAMED.match(text)
    language = None if named is None or named["name"] == "None" else named["name"]
    return Text(text.split(TAG, 1)[-1].strip(), language)


def may_be_tag(text: str) -> bool:
    """Whether a partial text is still within the tag, or may be."""
    found = _FRAME.fullmatch(text, partial=True)
    return found is not None and found.partial
