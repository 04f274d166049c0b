"""Compares a transcript with a reference, with the same errors as an evaluation."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from antiphon.serve.schemas import Strict, example
from antiphon.text.alignment import align, char_errors, count_errors, units
from antiphon.text.normalize import normalizer, versioned

router = APIRouter()
LONGEST = 20_000
"""Maximum characters; alignment time grows with the product of the lengths."""


class Compared(Strict):
    reference: str = Field(max_length=LONGEST, description="Reference transcript.")
    hypothesis: str = Field(max_length=LONGEST, description="Transcript to compare.")
    language: str | None = Field(default=None, max_length=64, description="Language of both, for normalization.")


@router.post("/diff", openapi_extra=example("""--json '{"reference": "one two", "hypothesis": "one too"}' {url}"""))
def diff(texts: Compared) -> dict[str, Any]:
    """Word alignment with hits, substitutions, deletions and insertions, and error rates."""
    reference, hypothesis = normalizer(texts.language).pair(texts.reference, texts.hypothesis)
    said, heard = units(reference), units(hypothesis)
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
