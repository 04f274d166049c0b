"""Which rows of the training sets are left out on purpose: by filters, as duplicates, and for evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from antiphon.config.data import Filter
from antiphon.data.arrow import pc
from antiphon.data.indexed import ids, repeated, strings
from antiphon.data.warnings import sounds
from antiphon.text.languages import language_code
from antiphon.types import Example


def left_out(rules: Filter, examples: Sequence[Example], scans: pa.Table) -> dict[str, np.ndarray]:
    """The rows that each rule leaves out [N, bool], by the rule's name; a row counts for its first rule.

    Rows without a clip have no length, so rules of time do not apply to them.
    """
    kept = np.ones(len(examples), bool)
    found: dict[str, np.ndarray] = {}
    for name, mask in _masks(rules, examples, scans):
        found[name] = mask & kept
        kept &= ~mask
    return {name: mask for name, mask in found.items() if mask.any()}


def _masks(rules: Filter, examples: Sequence[Example], scans: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    seconds = scans["seconds"]
    if rules.min_seconds is not None:
        yield "min_seconds", _mask(pc.less(seconds, rules.min_seconds))
    if rules.max_seconds is not None:
        yield "max_seconds", _mask(pc.greater(seconds, rules.max_seconds))
    if rules.text:
        yield "text", _mask(pc.equal(pc.utf8_trim_whitespace(strings(examples, "text")), ""))
    if rules.languages:
        wanted = {language_code(one) for one in rules.languages}
        spoken = strings(examples, "language").combine_chunks().dictionary_encode()
        fits = pa.array([language_code(one) in wanted for one in spoken.dictionary.to_pylist()], pa.bool_())
        yield "languages", ~_mask(fits.take(spoken.indices))
    if rules.min_chars_per_second is not None or rules.max_chars_per_second is not None:
        characters = pc.utf8_length(pc.utf8_trim_whitespace(strings(examples, "text")))
        pace = pc.divide(pc.cast(characters, pa.float64()), seconds)
        if rules.min_chars_per_second is not None:
            yield "min_chars_per_second", _mask(pc.less(pace, rules.min_chars_per_second))
        if rules.max_chars_per_second is not None:
            yield "max_chars_per_second", _mask(pc.greater(pace, rules.max_chars_per_second))


def duplicates(kind: str, examples: Sequence[Example], scans: pa.Table) -> np.ndarray:
    """The rows of which an earlier one has the same id, or by `kind` the same `audio` or `audio_text` [N, bool]."""
    again = repeated(ids(examples))
    if kind == "id":
        return again
    heard = sounds(examples, scans)
    if kind == "audio_text":
        heard = pc.binary_join_element_wise(heard, strings(examples, "text"), "\n")
    return again | repeated(heard)


def held_out(share: float, examples: Sequence[Example]) -> np.ndarray:
    """About `share` of the rows, chosen by their ids alone, whatever other rows there are [N, bool]."""
    bound = int(share * (1 << 64))
    chosen = [
        int.from_bytes(hashlib.sha256(f"held out\n{id}".encode()).digest()[:8], "big") < bound
        for id in ids(examples).to_pylist()
    ]
    return np.array(chosen, bool)


def _mask(values: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(values, False)).astype(bool)
