"""Two systems on the same utterances: by how much one errs less, how sure that is, and a sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.errors import DataError
from antiphon.evaluate.bootstrap import PairedTest, holm, paired_bootstrap, resampled_in_blocks
from antiphon.evaluate.mapsswe import MatchedPairs, mapsswe
from antiphon.evaluate.results import Evaluation
from antiphon.tasks.load import task_of_row
from antiphon.tasks.task import row_errors, row_units

RESAMPLES = 10_000
SIGNIFICANT = 0.05

Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Systems a and b on one set."""

    set: str
    n: int
    """Utterances."""
    ci_unit: str
    """"speaker" or "utterance": what the bootstrap resamples."""
    rate_a: float
    """Errors by reference words (WER), or the share of wrong answers in tasks of whole answers; likewise `rate_b`."""
    rate_b: float
    errors_a: float
    errors_b: float
    bootstrap: PairedTest
    mapsswe: MatchedPairs | None
    """None for a task whose rows have no texts to align (`ref_clean`)."""
    p: float
    """The larger p-value of the two tests, or the bootstrap's where it is the only one; corrected by Holm's method for
    the number of sets compared."""
    sentence: str

    @property
    def significant(self) -> bool:
        return self.p < SIGNIFICANT

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"significant": self.significant}


def compare(a: Evaluation, b: Evaluation, name_a: str, name_b: str) -> list[Comparison]:
    """Compares two evaluations on each set that both have; `name_a` and `name_b` are what sentences call them.

    A difference counts as real when two tests agree: the paired bootstrap, which knows of speakers, and MAPSSWE, which
    is not misled by few utterances. So the larger p-value is taken. MAPSSWE aligns words; where a task's rows have no
    cleaned texts, the bootstrap stands alone. Raises `DataError` when no set is common, when a set has another
    normalizer, other rows or other references in the two, or too few rows to compare.
    """
    common = [name for name in a.sets if name in b.sets]
    if not common:
        raise DataError(
            f"{name_a} ({', '.join(a.sets)}) and {name_b} ({', '.join(b.sets)}) have no set in common; "
            "evaluate both on the same sets"
        )
    pairs = {name: _paired(name, a, b, name_a, name_b) for name in common}
    tests = {name: (_bootstrap(name, rows), _mapsswe(rows)) for name, rows in pairs.items()}
    adjusted = holm([max(drawn["p"], matched["p"]) if matched else drawn["p"] for drawn, matched in tests.values()])
    return [
        _comparison(name, pairs[name], *tests[name], float(p), name_a, name_b)
        for name, p in zip(common, adjusted, strict=True)
    ]


def _paired(name: str, a: Evaluation, b: Evaluation, name_a: str, name_b: str) -> list[tuple[Row, Row]]:
    """The rows of a set, of a and of b, side by side."""
    rules_a, rules_b = a.sets[name]["normalizer"], b.sets[name]["normalizer"]
    if rules_a != rules_b:
        raise DataError(
            f"{name} is normalized by {rules_a} in {name_a} and by {rules_b} in {name_b}; "
            "evaluate both with the same --normalizer (into the same --output nothing is recognized again)"
        )
    by_id = {row["id"]: row for row in b.rows[name]}
    odd = sorted({row["id"] for row in a.rows[name]} ^ set(by_id))
    if odd:
        raise DataError(
            f"{name_a} and {name_b} were evaluated on different rows of {name}: {len(odd)} are in one alone, such as "
            f"{odd[0]!r}; evaluate both on the same file with the same --limit"
        )
    pairs = [(row, by_id[row["id"]]) for row in a.rows[name]]
    ruled = next((pair for pair in pairs if pair[0].get("rules") != pair[1].get("rules")), None)
    if ruled:
        one, two = (row.get("rules") for row in ruled)
        raise DataError(
            f"{ruled[0]['id']} of {name} is normalized by {one} rules in {name_a} and by {two} rules in {name_b}, as "
            "its language is known in one alone; give the set a column language, or evaluate both with --language"
        )
    other = [one["id"] for one, two in pairs if _reference(one) != _reference(two)]
    if other:
        raise DataError(
            f"{name_a} and {name_b} have different references in {len(other)} row(s) of {name}, such as {other[0]!r}; "
            "evaluate both on the same file"
        )
    return pairs


def _reference(row: Row) -> str:
    return row.get("ref_clean", row["ref_text"])


def _columns(pairs: Sequence[tuple[Row, Row]]) -> tuple[list[float], list[float], list[float]]:
    return (
        [row_errors(one) for one, _ in pairs],
        [row_errors(two) for _, two in pairs],
        [row_units(one) for one, _ in pairs],
    )


def _bootstrap(name: str, pairs: Sequence[tuple[Row, Row]]) -> PairedTest:
    result = paired_bootstrap(*_columns(pairs), [one["speaker"] for one, _ in pairs], resamples=RESAMPLES)
    if result is None:
        raise DataError(f"{name} has {len(pairs)} utterance(s); a comparison needs two or more, with words in them")
    return result


def _mapsswe(pairs: Sequence[tuple[Row, Row]]) -> MatchedPairs | None:
    if any("ref_clean" not in row for pair in pairs for row in pair):
        return None

    def words(row: Row, key: str) -> list[str]:
        return task_of_row(row).words(row[key])

    return mapsswe((words(a, "ref_clean"), words(a, "pred_clean"), words(b, "pred_clean")) for a, b in pairs)


def _comparison(
    name: str,
    pairs: Sequence[tuple[Row, Row]],
    drawn: PairedTest,
    matched: MatchedPairs | None,
    p: float,
    name_a: str,
    name_b: str,
) -> Comparison:
    errors_a, errors_b, ref_words = (sum(column) for column in _columns(pairs))
    return Comparison(
        set=name,
        n=len(pairs),
        ci_unit="speaker" if resampled_in_blocks([one["speaker"] for one, _ in pairs]) else "utterance",
        rate_a=errors_a / ref_words,
        rate_b=errors_b / ref_words,
        errors_a=errors_a,
        errors_b=errors_b,
        bootstrap=drawn,
        mapsswe=matched,
        p=p,
        sentence=_sentence(name, errors_a, errors_b, drawn, p, name_a, name_b),
    )


def _sentence(
    name: str, errors_a: float, errors_b: float, drawn: PairedTest, p: float, name_a: str, name_b: str
) -> str:
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    if drawn["relative"] is None or drawn["relative_ci"] is None:
        return f"{name_a} makes no errors on {name} and {name_b} makes {errors_b:.4g}, {chance}."
    low, high = drawn["relative_ci"]
    if low == high == 0:
        return f"{name_b} makes exactly as many errors as {name_a} on {name}, utterance by utterance."
    if errors_a == errors_b:
        change = "as many errors as"
    else:
        change = f"{_percent(drawn['relative'])} {_direction(drawn['relative'])} errors than"
    said = f"{name_b} makes {change} {name_a} on {name} (95% interval {_interval(low, high)}), {chance}"
    return f"{said}." if p < SIGNIFICANT else f"{said}: no difference is shown."


def _interval(low: float, high: float) -> str:
    """Of relative changes, from the smaller effect to the larger where both are on one side."""
    if low < 0 < high:
        return f"{_percent(low)} fewer to {_percent(high)} more"
    near, far = sorted((low, high), key=abs)
    return f"{_percent(near).removesuffix('%')} to {_percent(far)}"


def _direction(change: float) -> str:
    return "fewer" if change < 0 else "more"


def _percent(change: float) -> str:
    size = 100 * abs(change)
    return f"{size:.0f}%" if size >= 2 or size == 0 else f"{size:.1f}%"
