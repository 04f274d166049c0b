"""The regression guard: has any group of utterances become worse than it was before training?

A mean can improve while some speakers or languages lose. Each evaluation during a run is one look. At each look every
set as a whole and each of its groups is compared, utterance by utterance, with the evaluation before training
(`worsening_p`). Holm's method corrects over all groups of one look, and Bonferroni's over the looks that are planned.
So, whatever the groups, the chance that a run which changes nothing is ever stopped is at most `alpha`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from antiphon.evaluate.bootstrap import holm, resampled_in_blocks, worsening_p
from antiphon.tasks.task import row_errors, row_units

FIRST_RESAMPLES = 2000
CLEARLY_FINE = 0.02
"""A p-value above it, from the first resamples, is not looked at more closely."""
RESAMPLES_BELOW = 20
"""A p-value that may decide is computed so finely that this many resamples lie below the smallest threshold."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """One group of a set, before training and now."""

    set: str
    group: str | None
    """None for the set as a whole."""
    n: int
    """Utterances."""
    over: str
    """"speakers" or "utterances": what is resampled."""
    before: float
    """Errors by reference words (WER), or the share of wrong answers in tasks of whole answers; the mean reward where
    that is the `measure`. Likewise `after`."""
    after: float
    p: float
    p_adjusted: float
    """Corrected for all groups of this look and for all looks that are planned; compare it with `alpha`."""
    worse: bool
    measure: Literal["errors", "reward"] = "errors"

    def __str__(self) -> str:
        name = self.set if self.group is None else f"{self.set}, {self.group}"
        change = f"error rate {100 * self.before:.1f}% to {100 * self.after:.1f}%"
        if self.measure == "reward":
            change = f"reward {self.before:.3f} to {self.after:.3f}"
        return f"{name}: {change} (p {self.p_adjusted:.2g}, n {self.n})"


@dataclass(frozen=True)
class Look:
    """What the guard saw at one evaluation."""

    looks: int
    """Evaluations planned for the whole run."""
    alpha: float
    comparisons: list[Comparison]
    too_small: list[str]
    """Groups left out, as SET/GROUP."""

    @property
    def worse(self) -> list[Comparison]:
        """The groups that got worse, the surest first."""
        return sorted((one for one in self.comparisons if one.worse), key=lambda one: one.p)

    def to_dict(self) -> dict[str, Any]:
        """A line of `guard.jsonl`, without its step."""
        return asdict(self) | {"worse": len(self.worse)}


def look(
    before: Mapping[str, Sequence[Row]],
    after: Mapping[str, Sequence[Row]],
    alpha: float,
    looks: int,
    min_utterances: int,
    by_reward: bool = False,
) -> Look:
    """Compares the rows of each set before training with those of now; sets that only one side has are passed over.

    Rows are those of an evaluation (`antiphon.evaluate.metrics.measure`), with the key `group` where there are groups.
    A row without its like on the other side is left out. `by_reward` compares rewards, a loss of which is growth of
    errors.
    """
    if by_reward:
        before, after = ({name: _unrewarded(rows) for name, rows in side.items()} for side in (before, after))
    samples, too_small = [], []
    for name in [name for name in after if name in before]:
        pairs = _pairs(before[name], after[name])
        for group, members in _groups(pairs).items():
            enough = len(members) >= min_utterances and any(row_units(new) for _, new in members)
            if enough:
                samples.append((name, group, members))
            else:
                too_small.append(name if group is None else f"{name}/{group}")
    smallest = alpha / (max(len(samples), 1) * looks)
    p_values = np.array([_p_value(members, smallest) for *_, members in samples])
    adjusted = np.minimum(holm(p_values) * looks, 1.0)
    comparisons = [
        _comparison(name, group, members, float(p), float(corrected), alpha, by_reward)
        for (name, group, members), p, corrected in zip(samples, p_values, adjusted, strict=True)
    ]
    return Look(looks, alpha, comparisons, too_small)


def _unrewarded(rows: Sequence[Row]) -> list[Row]:
    """Rows whose errors are what they lack in reward; those without a reward are left out."""
    kept = ("id", "speaker", "group")
    return [
        {key: row[key] for key in kept if key in row} | {"errors": -row["reward"], "units": 1}
        for row in rows
        if row.get("reward") is not None
    ]


def _pairs(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[Row, Row]]:
    old = {row["id"]: row for row in before}
    return [(old[row["id"]], row) for row in after if row["id"] in old]


def _groups(pairs: Sequence[tuple[Row, Row]]) -> dict[str | None, list[tuple[Row, Row]]]:
    """The set as a whole under None, then each group, unless it is the whole set."""
    named: dict[str, list[tuple[Row, Row]]] = {}
    for pair in pairs:
        if pair[1].get("group") is not None:
            named.setdefault(pair[1]["group"], []).append(pair)
    whole: dict[str | None, list[tuple[Row, Row]]] = {None: list(pairs)}
    return whole | {name: named[name] for name in sorted(named) if len(named[name]) < len(pairs)}


def _p_value(members: Sequence[tuple[Row, Row]], smallest: float) -> float:
    """`smallest` is the least threshold that this p-value may be compared with."""
    growth = [row_errors(new) - row_errors(old) for old, new in members]
    speakers = _speakers(members)
    p = float(worsening_p(growth, speakers, FIRST_RESAMPLES))
    fine = int(RESAMPLES_BELOW / smallest)
    if p > CLEARLY_FINE or fine <= FIRST_RESAMPLES:
        return p
    return float(worsening_p(growth, speakers, fine))


def _speakers(members: Sequence[tuple[Row, Row]]) -> list[str | None]:
    return [new["speaker"] for _, new in members]


def _comparison(
    name: str,
    group: str | None,
    members: Sequence[tuple[Row, Row]],
    p: float,
    adjusted: float,
    alpha: float,
    by_reward: bool,
) -> Comparison:
    words = sum(row_units(new) for _, new in members) * (-1 if by_reward else 1)
    return Comparison(
        set=name,
        group=group,
        n=len(members),
        over="speakers" if resampled_in_blocks(_speakers(members)) else "utterances",
        before=sum(row_errors(old) for old, _ in members) / words,
        after=sum(row_errors(new) for _, new in members) / words,
        p=p,
        p_adjusted=adjusted,
        worse=adjusted <= alpha,
        measure="reward" if by_reward else "errors",
    )
