"""How Qwen3-ASR opens an answer: "language English<asr_text>hello". The one place that knows this form."""

from __future__ import annotations

import re

from antiphon.types import Text

TAG = "<asr_text>"
_OPENING = "language "
_NAMED = re.compile(rf"{_OPENING}(.+?){TAG}")


def tagged(text: str, language: str | None) -> str:
    """`text` as the model writes it; `language` by its English name, None where it is not known."""
    return f"{_OPENING}{language or 'None'}{TAG}{text}"


def untagged(text: str) -> Text:
    """The inverse of `tagged`. Unlike the processor's parser it hides no repetitions."""
    named = _NAMED.match(text)
    language = None if named is None or named[1] == "None" else named[1]
    return Text(text.split(TAG, 1)[-1].strip(), language)


def may_be_tag(text: str) -> bool:
    """Whether a text in the making is still within the tag, or may turn out to be."""
    return TAG not in text and _OPENING.startswith(text[: len(_OPENING)])
