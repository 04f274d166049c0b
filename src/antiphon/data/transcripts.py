"""Reads transcripts: takes Qwen3-ASR's frame off, and refuses the control tokens of models."""

from __future__ import annotations

import re

from antiphon.errors import DataError
from antiphon.text.language_tag import TAG, untagged

_CONTROL = re.compile(rf"<[|｜][^<>|｜\n]{{1,40}}[|｜]>|</?s>|<(?:pad|bos|eos)>|{TAG}", re.IGNORECASE)
"""What tokenizers read as one token that stops or steers a model, however it came into a text."""


def transcript(text: str) -> tuple[str, str | None]:
    """The words of a transcript, and the language that it names itself.

    `language English<asr_text>…` is the form in which Qwen3-ASR is fine-tuned; `language None` names none. Raises
    `DataError` for a transcript with a control token, such as `<|endoftext|>`, which a model would obey.
    """
    language = None
    if TAG in text and text.lstrip().startswith("language "):
        framed = untagged(text.strip())
        text, language = framed.text, framed.language
    if "<" in text and (found := _CONTROL.search(text)):
        raise DataError(
            f"the transcript has the control token {found[0]!r}, which models obey and nobody says; remove it"
        )
    return text, language
