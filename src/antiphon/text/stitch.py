"""Joins the transcripts of a recording's pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, which have no spaces between words."""


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script without spaces between words."""
    return _UNSPACED.match(character) is not None


def stitched(texts: Sequence[str]) -> str:
    """All `texts` as one, with spaces between them if the script has them."""
    whole = ""
    for text in filter(None, texts):
        space = whole and not (is_unspaced(whole[-1]) or is_unspaced(text[0]))
        whole += f" {text}" if space else text
    return whole
