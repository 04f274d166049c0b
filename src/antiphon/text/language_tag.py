"""Qwen3-ASR's answer format, "language English<asr_text>hello". No other module knows it."""

from __future__ import annotations

import re

from antiphon.types import Text

TAG = "<asr_text>"
_OPENING = "language "
_NAMED = re.compile(rf"{_OPENING}(.+?){TAG}")


def tagged(text: str, language: str | None) -> str:
    """Format `text` as the model does; `language` is an English name, or None if unknown."""
    return f"{_OPENING}{language or 'None'}{TAG}{text}"


def untagged(text: str) -> Text:
    """The inverse of `tagged`. Unlike the processor's parser, it keeps repetitions."""
    named = _NAMED.match(text)
    language = None if named is None or named[1] == "None" else named[1]
    return Text(text.split(TAG, 1)[-1].strip(), language)


def may_be_tag(text: str) -> bool:
    """Whether a partial text is still within the tag, or may be."""
    return TAG not in text and _OPENING.startswith(text[: len(_OPENING)])
