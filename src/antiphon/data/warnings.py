"""Doubts about rows that can be used: odd levels, texts that do not fit their clips, and the same clip twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from antiphon.data.arrow import pc
from antiphon.data.indexed import strings
from antiphon.data.rows import Line, place
from antiphon.data.scans import references
from antiphon.text.languages import language_code, script, scripts_of
from antiphon.types import Example

SILENT = 0.001
"""A clip whose peak is below, −60 dBFS, has nothing to hear."""
CLIPPED = 0.001
"""Share of samples at full scale above which a clip is distorted."""
OUT_OF_RANGE = 1.5
"""A peak above is not the overshoot of a lossy codec: the samples are not scaled to ±1."""
SHORT = 0.1
FASTEST, FASTEST_SYLLABLES = 40.0, 15.0
"""Characters a second above which nobody speaks; the latter where a character is a syllable or a word."""
SLOWEST = 0.4
"""Characters a second below which a text of a clip of `LONG` seconds lacks words."""
LONG = 5.0
_SYLLABIC = {"zh", "cmn", "yue", "ja", "ko"}


@dataclass(frozen=True)
class Warned:
    """A row to look at."""

    line: Line
    id: str
    kind: str
    """silence, clipping, scale, cancellation, short, pace, language, duplicate or leak."""
    reason: str


Finder = Callable[[Sequence[Example], pa.Table], Iterator[tuple[int, str]]]


def warn(examples: Sequence[Example], scans: pa.Table, lines: Sequence[Line]) -> list[Warned]:
    """The doubts about examples, each with its scan and its line, in their order."""
    found = [(at, kind, reason) for kind, finder in _FINDERS.items() for at, reason in finder(examples, scans)]
    found += [(at, "duplicate", reason) for at, reason in _duplicates(examples, scans, lines)]
    found.sort(key=lambda one: one[0])
    return [Warned(lines[at], examples[at].id, kind, reason) for at, kind, reason in found]


def sounds(examples: Sequence[Example], scans: pa.Table) -> pa.ChunkedArray:
    """What tells the sound of each clip from others: the digest of its samples; the name of synthetic speech."""
    digests = scans["digest"]
    unnamed = pc.and_(pc.is_null(digests), pc.fill_null(pc.not_equal(references(examples), ""), True))
    missing = _where(unnamed)
    if not missing:
        return digests
    values = digests.to_pylist()
    for at in missing:
        clip = examples[at].clip
        values[at] = None if clip is None else clip.name
    return pa.chunked_array([pa.array(values, pa.string())])


def leaks(
    examples: Sequence[Example], scans: pa.Table, held_out: Sequence[Example], held_out_scans: pa.Table
) -> np.ndarray:
    """Where examples have a clip that sounds the same as one of those held out [N, bool]."""
    other = sounds(held_out, held_out_scans).drop_null()
    return np.asarray(pc.is_in(sounds(examples, scans), value_set=other.combine_chunks(), skip_nulls=True))


def _where(mask: pa.ChunkedArray) -> list[int]:
    return np.flatnonzero(np.asarray(pc.fill_null(mask, False))).tolist()


def _silence(_: Sequence[Example], scans: pa.Table) -> Iterator[tuple[int, str]]:
    for at in _where(pc.less(scans["peak"], SILENT)):
        yield (
            at,
            f"the clip is silent (its peak is {_decibels(scans['peak'][at].as_py())}); record it again or remove it",
        )


def _clipping(_: Sequence[Example], scans: pa.Table) -> Iterator[tuple[int, str]]:
    for at in _where(pc.and_(pc.greater(scans["clipped"], CLIPPED), pc.less_equal(scans["peak"], OUT_OF_RANGE))):
        yield at, f"{scans['clipped'][at].as_py():.1%} of the samples are at full scale; record it at a lower level"


def _scale(_: Sequence[Example], scans: pa.Table) -> Iterator[tuple[int, str]]:
    for at in _where(pc.greater(scans["peak"], OUT_OF_RANGE)):
        yield at, f"samples reach {scans['peak'][at].as_py():.6g}, and full scale is 1; divide them by their range"


def _cancellation(_: Sequence[Example], scans: pa.Table) -> Iterator[tuple[int, str]]:
    for at in _where(pc.greater(scans["cancelled"], 0.9)):
        channels, gone = scans["channels"][at].as_py() or 2, scans["cancelled"][at].as_py()
        if gone > 1 - 0.2 / channels:
            left = f"{1 - gone:.1%} of their power"
            yield at, f"its {channels} channels cancel: their mean has {left}; take one channel, or invert one"


def _short(_: Sequence[Example], scans: pa.Table) -> Iterator[tuple[int, str]]:
    for at in _where(pc.less(scans["seconds"], SHORT)):
        yield at, f"the clip has {scans['seconds'][at].as_py():.3g} s; nothing is said in under {SHORT:g} s"


def _pace(examples: Sequence[Example], scans: pa.Table) -> Iterator[tuple[int, str]]:
    characters = pc.utf8_length(pc.utf8_trim_whitespace(strings(examples, "text")))
    pace = pc.divide(pc.cast(characters, pa.float64()), scans["seconds"])
    languages = strings(examples, "language")
    slow = pc.and_(pc.and_(pc.less(pace, SLOWEST), pc.greater(characters, 0)), pc.greater(scans["seconds"], LONG))
    for at in _where(pc.or_(pc.greater(pace, FASTEST_SYLLABLES), slow)):
        found, language = pace[at].as_py(), languages[at].as_py()
        syllabic = language is not None and language_code(language) in _SYLLABIC
        if SLOWEST <= found <= (FASTEST_SYLLABLES if syllabic else FASTEST):
            continue
        what = "lacks words" if found < SLOWEST else "is of more than this clip"
        yield at, f"{found:.3g} characters a second: the text {what}; compare it with the recording"


def _language(examples: Sequence[Example], _: pa.Table) -> Iterator[tuple[int, str]]:
    languages, texts = strings(examples, "language"), strings(examples, "text")
    for at in _where(pc.is_valid(languages)):
        language = languages[at].as_py()
        expected = scripts_of(language)
        if expected is None:
            continue
        text = texts[at].as_py()
        if expected == {"LATIN"} and text.isascii():
            continue
        found = script(text)
        if found is not None and found not in expected:
            yield at, f"the text is in {found.title()} letters, and its language is {language}; correct one of them"


def _duplicates(examples: Sequence[Example], scans: pa.Table, lines: Sequence[Line]) -> Iterator[tuple[int, str]]:
    codes = sounds(examples, scans).combine_chunks().dictionary_encode().indices
    texts = strings(examples, "text")
    first: dict[int, int] = {}
    for at, code in enumerate(codes.to_pylist()):
        if code is None:
            continue
        before = first.setdefault(code, at)
        if before != at:
            same = "and the same text" if texts[at].as_py() == texts[before].as_py() else "but another text"
            yield at, f"the same sound as {place(lines[before])}, {same}; remove one, or set data.deduplicate"


def _decibels(peak: float) -> str:
    return f"{20 * np.log10(peak):.0f} dBFS" if peak > 0 else "0"


_FINDERS: dict[str, Finder] = {
    "silence": _silence,
    "clipping": _clipping,
    "scale": _scale,
    "cancellation": _cancellation,
    "short": _short,
    "pace": _pace,
    "language": _language,
}
