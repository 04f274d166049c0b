"""Subtitles: a transcript's words as cues of at most two lines of 42 characters and 7 seconds.

Cues end at pauses and after sentences, where they must at a comma or between words. These are the usual limits of
broadcasters and of Netflix's Timed Text Style Guide. Wide characters, as in Chinese, count as two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from antiphon.models.word_times import Word
from antiphon.text.stitch import is_unspaced, stitched
from antiphon.types import Seconds

LINE, LINES = 42, 2
LONGEST: Seconds = 7.0
PAUSE: Seconds = 0.6
"""Between two cues."""
_SENTENCE = re.compile(r"[.?!…。？！]['\"”’»)]*$")
_CLAUSE = re.compile(r"[,;:，、；：]['\"”’»)]*$")


@dataclass(frozen=True)
class Cue:
    """What is shown from `start` to `end`."""

    start: Seconds
    end: Seconds
    lines: tuple[str, ...]


def srt(words: Sequence[Word]) -> str:
    """SubRip: numbered cues, times with a comma."""
    found = enumerate(cues(words), 1)
    return "".join(f"{i}\n{_times(cue).replace('.', ',')}\n{chr(10).join(cue.lines)}\n\n" for i, cue in found)


def vtt(words: Sequence[Word]) -> str:
    """WebVTT (W3C)."""
    shown = (f"{_times(cue)}\n{_escaped(chr(10).join(cue.lines))}\n\n" for cue in cues(words))
    return "WEBVTT\n\n" + "".join(shown)


def cues(words: Sequence[Word]) -> list[Cue]:
    """The cues of `words`, which are in order. No word is lost, and no cue begins before the last has ended."""
    found: list[Cue] = []
    held: list[Word] = []
    for unit in _units(words):
        if held and unit.start - held[-1].end > PAUSE:
            held = _shown(found, held, len(held))
        while held and not _fit([*held, unit]):
            held = _shown(found, held, _cut(held))
        held.append(unit)
        if _SENTENCE.search(unit.text):
            held = _shown(found, held, len(held))
    _shown(found, held, len(held))
    return found


def _units(words: Sequence[Word]) -> Iterator[Word]:
    """What a line can be broken between, with times that never go back: words, characters of scripts without spaces,
    and parts of words that are longer than a line."""
    last = 0.0
    for word in words:
        pieces = [one for part in word.text.split() for one in _breakable(part)]
        start, end = max(word.start, last), max(word.end, word.start, last)
        whole, place = sum(map(len, pieces)), 0
        for piece in pieces:
            begin, place = start + (end - start) * place / whole, place + len(piece)
            last = start + (end - start) * place / whole
            yield Word(piece, begin, last)


def _breakable(text: str) -> list[str]:
    runs = re.findall(r".", text) if any(map(is_unspaced, text)) else [text]
    return [run[i : i + LINE] for run in runs for i in range(0, len(run), LINE)]


def _fit(units: Sequence[Word]) -> bool:
    return units[-1].end - units[0].start <= LONGEST and _lines(units) is not None


def _cut(held: Sequence[Word]) -> int:
    """How many units of a full cue to show: to the last comma in its second half, or all."""
    commas = [i + 1 for i, unit in enumerate(held) if _CLAUSE.search(unit.text) and 2 * (i + 1) >= len(held)]
    return commas[-1] if commas else len(held)


def _shown(found: list[Cue], held: list[Word], count: int) -> list[Word]:
    """Make a cue of the first `count` units; returns the rest."""
    if count:
        lines = _lines(held[:count])
        assert lines is not None
        start = held[0].start
        found.append(Cue(start, min(held[count - 1].end, start + LONGEST), lines))
    return held[count:]


def _lines(units: Sequence[Word]) -> tuple[str, ...] | None:
    """One line if it suffices, else the two that differ least in width; None if these are too long."""
    texts = [unit.text for unit in units]
    if _width(whole := stitched(texts)) <= LINE:
        return (whole,)
    pairs = [(stitched(texts[:i]), stitched(texts[i:])) for i in range(1, len(texts))]
    fitting = [pair for pair in pairs if max(map(_width, pair)) <= LINE]
    return min(fitting, key=lambda pair: abs(_width(pair[0]) - _width(pair[1])), default=None)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _times(cue: Cue) -> str:
    return f"{_clock(cue.start)} --> {_clock(cue.end)}"


def _clock(seconds: Seconds) -> str:
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
