"""The English rules of `default`: contractions, spellings and numbers in one form, and every word as it was said."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from rapidfuzz.distance import Levenshtein

from antiphon.text import whisper_rules
from antiphon.text.figures import FIGURE, readings
from antiphon.text.plain import fold, keep_words

Words = list[str]
_APOSTROPHES = str.maketrans(dict.fromkeys("‘’‛ʻʼ′`´", "'"))
_CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro", "¥": "yen"}
_PRICE = re.compile(r"([$£€¥])\s?([0-9][0-9,.]*[0-9]|[0-9])(\s(?:hundred|thousand|million|billion|trillion))?(?!\w)")
CORRECTED = {
    "archaeological": "archeological",
    "archaeology": "archeology",
    "cancellation": "cancelation",
    "cancellations": "cancelations",
    "flyer": "flier",
    "pummelled": "pummeled",
    "pummelling": "pummeling",
    "snowploughs": "snowplows",
    "travelogue": "travelog",
    "travelogues": "travelogs",
}
"""Entries of Whisper's table of spellings that are damaged or turned round there, as they are meant."""


@dataclass(frozen=True)
class Figure:
    """A number in figures among words."""

    digits: str
    ways: list[Words]
    """To say it, the likeliest first."""


Parts = list[str | Figure]


class English:
    """Whisper's contraction and spelling tables, without its number rules and deletions; figures become words."""

    def __init__(self) -> None:
        self._contractions = [(re.compile(pattern), full) for pattern, full in whisper_rules.contractions().items()]
        table = {british: american for british, american in whisper_rules.spellings().items() if american.isalpha()}
        turned = {american for american in CORRECTED.values() if american in table}
        self._american = {word: to for word, to in table.items() if word not in turned} | CORRECTED

    def __call__(self, text: str) -> str:
        return " ".join(_likeliest(self._parts(text)))

    def fitted(self, reference: str, hypothesis: str) -> str:
        """The hypothesis cleaned, each number said as the reference says it.

        A number in figures equals every way to say it, on either side: of the ways to say a figure of the hypothesis
        the one is taken that leaves the fewest edits, the likeliest of several; words of the hypothesis that say a
        figure of the reference become those that the cleaned reference has. Two numbers in words are only words.
        """
        said, heard = self._parts(reference), self._parts(hypothesis)
        if not any(isinstance(part, Figure) for part in [*said, *heard]):
            return " ".join(_likeliest(heard))
        target = _likeliest(said)
        return " ".join(_closest(target, _slots(heard, said)))

    def _parts(self, text: str) -> Parts:
        text = " ".join(fold(text.translate(_APOSTROPHES)).split()).replace(" '", "'")
        for pattern, full in self._contractions:
            text = pattern.sub(full, text)
        text = _PRICE.sub(_price, text).replace("%", " percent ").replace("&", " and ")
        parts: Parts = []
        end = 0
        for found in FIGURE.finditer(text):
            parts += self._words(text[end : found.start()])
            parts.append(Figure(found[1].replace(",", "") + found[2], [way.split() for way in readings(found[0])]))
            end = found.end()
        return parts + self._words(text[end:])

    def _words(self, text: str) -> Parts:
        return [self._american.get(word, word) for word in keep_words(_without_latin_accents(text)).split()]


def _likeliest(parts: Parts) -> Words:
    return [word for part in parts for word in (part.ways[0] if isinstance(part, Figure) else [part])]


def _slots(heard: Parts, said: Parts) -> list[list[Words]]:
    """What the hypothesis may say, piece by piece; each piece has its ways, the likeliest first."""
    figures = [part for part in said if isinstance(part, Figure)]
    grouped = {digits: _likeliest(run) for digits, run in map(_run, _begins(said))}
    slots: list[list[Words]] = []
    place = 0
    while place < len(heard):
        part, step = heard[place], 1
        if isinstance(part, Figure):
            digits, run = _run(heard[place:])
            if digits in grouped:
                slots.append([_likeliest(run), grouped[digits]])
                step = len(run)
            else:
                slots.append(part.ways)
        elif meant := next(_meant(heard, place, figures), None):
            slots.append(list(meant))
            step = len(meant[0])
        else:
            slots.append([[part]])
        place += step
    return slots


def _begins(parts: Parts) -> Iterator[Parts]:
    """The parts from each place on where figures begin."""
    for place, part in enumerate(parts):
        if isinstance(part, Figure) and not (place and isinstance(parts[place - 1], Figure)):
            yield parts[place:]


def _run(parts: Parts) -> tuple[str, Parts]:
    """The figures at the beginning, and their digits together: "847 870" and "847870" have the same."""
    run = list(takewhile(lambda part: isinstance(part, Figure), parts))
    return "".join(part.digits for part in run if isinstance(part, Figure)), run


def _meant(heard: Parts, place: int, figures: Sequence[Figure]) -> Iterator[tuple[Words, Words]]:
    """Words of the hypothesis from `place` on that say one of the `figures`, with its likeliest words."""
    for figure in figures:
        for way in figure.ways[1:]:
            if heard[place : place + len(way)] == way:
                yield way, figure.ways[0]


def _closest(target: Words, slots: Sequence[Sequence[Words]]) -> Words:
    """Of each slot the way with which the whole is closest to `target`, chosen from left to right."""
    known, chosen = set(target), [ways[0] for ways in slots]
    for place, ways in enumerate(slots):
        worth = [ways[0], *(way for way in ways[1:] if known & set(way))]
        if len(worth) > 1:
            chosen[place] = min(worth, key=lambda way: _distance(target, [*chosen[:place], way, *chosen[place + 1 :]]))
    return [word for words in chosen for word in words]


def _distance(target: Words, pieces: Sequence[Words]) -> int:
    return Levenshtein.distance(target, [word for words in pieces for word in words])


def _price(found: re.Match[str]) -> str:
    """ "$5" as "5 dollars"."""
    name = _CURRENCIES[found[1]]
    ending = "" if name == "yen" or (found[2] == "1" and not found[3]) else "s"
    return f"{found[2]}{found[3] or ''} {name}{ending}"


def _without_latin_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", decomposed))
