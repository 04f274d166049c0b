"""A transcript against what was said, with the errors that an evaluation counts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from antiphon.serve.schemas import Strict
from antiphon.text.alignment import align, char_errors, count_errors, units
from antiphon.text.normalize import normalizer, versioned

router = APIRouter()
LONGEST = 20_000
"""Characters of a text; the time to align two grows with the product of their lengths."""


class Compared(Strict):
    reference: str = Field(max_length=LONGEST, description="What was said.")
    hypothesis: str = Field(max_length=LONGEST, description="What was recognized.")
    language: str | None = Field(default=None, max_length=64, description="Decides how both are normalized.")


@router.post("/diff")
def diff(texts: Compared) -> dict[str, Any]:
    """Word by word, what was recognized right, wrong, not at all, or though nobody said it; and the error rates."""
    clean = normalizer(texts.language)
    said, heard = units(clean(texts.reference)), units(clean(texts.hypothesis))
    words = count_errors(said, heard)
    characters = char_errors(texts.reference, texts.hypothesis, texts.language)
    return {
        "operations": [
            {
                "kind": op.kind,
                "reference": None if op.ref is None else said[op.ref],
                "hypothesis": None if op.hyp is None else heard[op.hyp],
            }
            for op in align(said, heard)
        ],
        "wer": words.rate if said else None,
        "cer": characters.rate if said else None,
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "hits": words.hits,
        "normalizer": versioned("default"),
    }
