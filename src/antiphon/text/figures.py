"""Numbers in figures as English words: "21" is "twenty one", and "847" may be said digit by digit."""

from __future__ import annotations

import re
from collections.abc import Iterator

_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_UNITS += ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ["", "thousand", "million", "billion", "trillion"]
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"}
_LONGEST = 6
"""Figures with more digits, no commas and no zeros at the end are read digit by digit: telephones, accounts."""

FIGURE = re.compile(r"(?<![\w.])([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)((?:\.[0-9]+)*)(st|nd|rd|th|s)?(?!\w)")
"""A number in lower-case text: digits, perhaps with commas at thousands, decimals, or the end of an ordinal or plural.
Digits beside letters ("mp3") are no number."""


def readings(figure: str) -> list[str]:
    """The ways to say a number that `FIGURE` matches, the likeliest first."""
    found = FIGURE.fullmatch(figure)
    if found is None:
        return [figure]
    whole, decimals, ending = found.groups()
    digits, points = whole.replace(",", ""), [part for part in decimals.split(".") if part]
    if points:
        tails = [[_by_digit(part) for part in points]]
        if all(len(part) == 2 and part[0] != "0" for part in points):
            tails.append([_cardinal(int(part)) for part in points])
        said = [" point ".join([head, *tail]) for head in _whole(digits, "," in whole) for tail in tails]
    else:
        said = list(_whole(digits, "," in whole))
    if ending == "s":
        said = [_plural(one) for one in said]
    elif ending:
        said = [_ordinal(one) for one in said]
    return list(dict.fromkeys(said))


def _whole(digits: str, grouped: bool) -> Iterator[str]:
    by_digit = [_by_digit(digits), _by_digit(digits, zero="oh")]
    if len(digits) > 3 * len(_SCALES) or (digits[0] == "0" and len(digits) > 1):
        yield from by_digit
        return
    value, year = int(digits), _year(digits)
    if len(digits) > _LONGEST and value % 1000 and not grouped:
        yield from by_digit
    if year and not grouped and (1100 <= value < 2000 or 2010 <= value < 2100):
        yield year
    for words in (_cardinal(value), _cardinal(value, joint=" and ")):
        yield words
        if re.match(r"one (hundred|thousand|million|billion)", words):
            yield "a" + words.removeprefix("one")
    if year:
        yield year
    if len(digits) == 3:
        yield f"{_UNITS[int(digits[0])]} {_pair(digits[1:])}"
    yield from by_digit


def _cardinal(value: int, joint: str = " ") -> str:
    """`joint` stands between hundreds and what follows: "one hundred and five"."""
    if value < 20:
        return _UNITS[value]
    if value < 100:
        return _TENS[value // 10] + (f" {_UNITS[value % 10]}" if value % 10 else "")
    if value < 1000:
        rest = joint + _cardinal(value % 100) if value % 100 else ""
        return f"{_UNITS[value // 100]} hundred{rest}"
    parts = []
    for power in range(len(_SCALES) - 1, 0, -1):
        count, value = divmod(value, 1000**power)
        if count:
            parts.append(f"{_cardinal(count, joint)} {_SCALES[power]}")
    if value:
        parts.append(_cardinal(value, joint) if value >= 100 else joint.strip() + " " + _cardinal(value))
    return " ".join(" ".join(parts).split())


def _by_digit(digits: str, zero: str = "zero") -> str:
    return " ".join(zero if digit == "0" else _UNITS[int(digit)] for digit in digits)


def _pair(digits: str) -> str:
    """Two digits as they end a year: "oh five", "hundred", "eighty four"."""
    if digits == "00":
        return "hundred"
    return f"oh {_UNITS[int(digits)]}" if digits[0] == "0" else _cardinal(int(digits))


def _year(digits: str) -> str:
    """Four digits in pairs; nothing for others, or where nobody says so."""
    if len(digits) != 4 or digits[0] == "0" or digits[1:3] == "00":
        return ""
    return f"{_cardinal(int(digits[:2]))} {_pair(digits[2:])}"


def _ordinal(words: str) -> str:
    *before, last = words.split()
    spelled = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join([*before, spelled])


def _plural(words: str) -> str:
    *before, last = words.split()
    plural = last[:-1] + "ies" if last.endswith("y") else last + ("es" if last.endswith("x") else "s")
    return " ".join([*before, plural])
