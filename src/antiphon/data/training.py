"""The training sets of a recipe, checked, filtered and without duplicates; and what is held out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from antiphon.config import Config
from antiphon.data.files import own_names
from antiphon.data.filters import duplicates, held_out, left_out
from antiphon.data.indexed import ids, joined, select
from antiphon.data.rows import BadRow
from antiphon.data.scans import OnProgress
from antiphon.data.source import checked_set
from antiphon.data.validate import Checked
from antiphon.data.warnings import leaks
from antiphon.errors import DataError
from antiphon.types import Example

HOLDOUT = "holdout"
"""The name of the evaluation set that `data.holdout` makes."""
_LISTED = 20
"""Rows that are named of each rule."""


@dataclass
class TrainingSets:
    """What there is to learn from."""

    sets: list[tuple[str, Checked]] = field(default_factory=list)
    """Each set with its spec."""
    held_out: list[Example] = field(default_factory=list)
    """Rows that are evaluated and not trained on."""
    notes: list[str] = field(default_factory=list)
    """What was left out, a line for each set and rule."""
    listed: list[str] = field(default_factory=list)
    """The first rows of each."""
    skipped: list[tuple[str, list[BadRow], int]] = field(default_factory=list)
    """Rows whose clip is bad, by set, and how many rows that set has."""


def load_training_sets(config: Config, text_required: bool, bar: Callable[[str], OnProgress]) -> TrainingSets:
    """Load `data.train`. Which rows stay depends on the rows and the recipe alone.

    Raises `DataError` listing bad rows, and if no row is left; and the errors of `read_set`.
    """
    data, found, names = config.data, TrainingSets(), own_names(config.data.train)
    for spec in data.train:
        keep = _filter(config, found, spec)
        checked = checked_set(spec, config, data.limit, bar(spec), text_required, keep, names[spec])
        found.notes += cut_ends(spec, checked)
        found.skipped.append((spec, checked.skipped, len(checked.examples) + len(checked.skipped)))
        found.sets.append((spec, checked))
    if data.deduplicate:
        _deduplicate(data.deduplicate, found)
    if data.holdout:
        _hold_out(data.holdout, found)
    for spec, checked in found.sets:
        if not checked.examples:
            raise DataError(f"{spec}: no row is left to train on; relax data.filter, data.deduplicate or data.holdout")
    return found


def _filter(config: Config, found: TrainingSets, spec: str) -> Callable[[Sequence[Example], pa.Table], np.ndarray]:
    """What says which rows of a set to look at; the others are noted."""
    rules = config.data.filter

    def keep(examples: Sequence[Example], scans: pa.Table) -> np.ndarray:
        kept = np.ones(len(examples), bool)
        for name, mask in left_out(rules, examples, scans).items():
            _note(found, spec, f"data.filter.{name} leaves out", examples, mask)
            kept &= ~mask
        return np.flatnonzero(kept)

    return keep


def _deduplicate(kind: str, found: TrainingSets) -> None:
    whole = joined([checked.examples for _, checked in found.sets])
    again = duplicates(kind, whole, pa.concat_tables([checked.scans for _, checked in found.sets]))
    _part(found, again, f"data.deduplicate={kind} leaves out")


def _hold_out(share: float, found: TrainingSets) -> None:
    whole = joined([checked.examples for _, checked in found.sets])
    mask = held_out(share, whole)
    found.held_out = list(select(whole, np.flatnonzero(mask)))
    _part(found, mask, "data.holdout takes")


def _part(found: TrainingSets, mask: np.ndarray, why: str) -> None:
    """Take the rows of `mask`, over all sets, out of their sets."""
    begin = 0
    for place, (spec, checked) in enumerate(found.sets):
        mine = mask[begin : (begin := begin + len(checked.examples))]
        if mine.any():
            _note(found, spec, why, checked.examples, mine)
            found.sets[place] = spec, checked.select(np.flatnonzero(~mine))


def _note(found: TrainingSets, spec: str, why: str, examples: Sequence[Example], mask: np.ndarray) -> None:
    found.notes.append(f"{spec}: {why} {mask.sum()} of {len(mask)} rows")
    first = ids(examples).take(pa.array(np.flatnonzero(mask)[:_LISTED])).to_pylist()
    rest = f" and {mask.sum() - len(first)} more" if mask.sum() > len(first) else ""
    found.listed.append(f"{spec}: {why} {', '.join(first)}{rest}")


def cut_ends(spec: str, checked: Checked) -> list[str]:
    """A note, if segments of a set end after their files."""
    cut = checked.scans["note"].drop_null()
    return [f"{spec}: {len(cut)} segment(s) are cut, the first is {cut[0]}"] if len(cut) else []


def leaked(sets: Sequence[tuple[str, Checked]], name: str, held: Checked) -> list[str]:
    """A warning for each training set that has clips of the evaluation set `name`."""
    warnings = []
    for spec, checked in sets:
        places = np.flatnonzero(leaks(checked.examples, checked.scans, held.examples, held.scans))
        if len(places):
            first = checked.examples[int(places[0])].id
            warnings.append(
                f"warning: {len(places)} clip(s) of {spec} are also in the evaluation set {name}, whose figures will "
                f"be too good; the first is {first!r}: antiphon data check --against lists them"
            )
    return warnings
