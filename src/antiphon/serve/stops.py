"""Texts that end an answer, and what of an answer in the making may still become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """`text` before the first of `stops` in it, and whether there is one."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def settled(text: str, ends: Iterable[str]) -> str:
    """`text` without what further tokens may change: half a character, or the beginning of one of `ends`."""
    text = text.rstrip("\ufffd")
    begun = [length for end in ends for length in range(1, len(end)) if text.endswith(end[:length])]
    return text[: len(text) - max(begun, default=0)]
