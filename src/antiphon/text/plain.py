"""The rules of every language that has no others: the same letters in one form, and nothing but words."""

from __future__ import annotations

import re
import unicodedata

_TURKIC_CAPITALS = str.maketrans({"İ": "i", "I": "ı"})
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_DECIMAL_POINT = re.compile(r"(?<=\d)\.(?=\d)")


def fold(text: str) -> str:
    """NFKC and casefolding."""
    # Casefolding can undo NFKC, and turns the Turkish capital dotted I into an i with a combining dot above.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.replace("i\N{COMBINING DOT ABOVE}", "i")


def keep_words(text: str) -> str:
    """Keep letters, digits, their marks and decimal points; everything else separates words.

    Format characters (soft hyphens, joiners) and variation selectors are removed without separating words.
    """
    text = _VARIATION_SELECTOR.sub("", text)
    points = {match.start() for match in _DECIMAL_POINT.finditer(text)}
    kept = [" "]
    for position, character in enumerate(text):
        category = unicodedata.category(character)
        on_a_letter = category in ("Mn", "Mc") and kept[-1] != " "
        if category[0] in "LN" or on_a_letter or position in points:
            kept.append(character)
        elif category not in ("Cf", "Me"):
            kept.append(" ")
    return " ".join("".join(kept).split())


def plain(text: str) -> str:
    return keep_words(fold(text))


def turkic(text: str) -> str:
    """Turkish and Azerbaijani: I and ı, İ and i are pairs."""
    return plain(text.translate(_TURKIC_CAPITALS))
