"""What a task is measured by, with its interval, and the table of utterances behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.errors import DataError
from antiphon.evaluate.answers import label_measures
from antiphon.evaluate.bootstrap import bootstrap_ci, resampled_in_blocks
from antiphon.text.alignment import characters, count_errors, units
from antiphon.text.normalise import Normalise
from antiphon.text.normalise import normaliser as default_normaliser
from antiphon.types import Seconds


@dataclass(frozen=True)
class Utterance:
    """One reference with what was recognised. Edits and lengths are counts after normalisation."""

    id: str
    ref_text: str
    pred_text: str
    ref_clean: str
    pred_clean: str
    wer_errors: int
    """0 or 1 in tasks whose answers are right or wrong as a whole."""
    cer_errors: int
    ref_words: int
    """Units of `antiphon.text.alignment.units`: characters in scripts without spaces. 1 in tasks of whole answers."""
    ref_chars: int
    sub: int
    """`sub`, `del_` and `ins` are word errors and add up to `wer_errors`."""
    del_: int
    ins: int
    seconds: Seconds
    """Duration of the audio."""
    speaker: str | None = None
    language: str | None = None
    task: str = "asr"
    truncated: bool | None = False
    """Whether the token limit cut the prediction off; None where that is not known."""

    def to_row(self) -> dict[str, Any]:
        """The fields as a table has them: `del_` is called "del"."""
        return {name.rstrip("_"): value for name, value in vars(self).items()}


def measure(
    id: str,
    reference: str,
    prediction: str,
    *,
    seconds: Seconds = 0.0,
    speaker: str | None = None,
    language: str | None = None,
    task: str = "asr",
    truncated: bool | None = False,
    normaliser: Callable[[str | None], Normalise] = default_normaliser,
) -> Utterance:
    """Counts word and character errors of one prediction; in tasks other than speech recognition the whole answer is
    the one word. `normaliser` gives the function that cleans texts of a language."""
    clean = normaliser(language)
    ref_clean, pred_clean = clean(reference), clean(prediction)
    ref_units, pred_units = (units(text) if task == "asr" else [text] for text in (ref_clean, pred_clean))
    words = count_errors(ref_units, pred_units)
    chars = count_errors(characters(ref_clean), characters(pred_clean))
    return Utterance(
        id=id,
        ref_text=reference,
        pred_text=prediction,
        ref_clean=ref_clean,
        pred_clean=pred_clean,
        wer_errors=words.edits,
        cer_errors=chars.edits,
        ref_words=words.ref_len,
        ref_chars=chars.ref_len,
        sub=words.substitutions,
        del_=words.deletions,
        ins=words.insertions,
        seconds=seconds,
        speaker=speaker,
        language=language,
        task=task,
        truncated=truncated,
    )


def worst_first(utterances: Iterable[Utterance]) -> list[Utterance]:
    """By word errors, then character errors, then id."""
    return sorted(utterances, key=lambda row: (-row.wer_errors, -row.cer_errors, row.id))


def summarise(
    utterances: Sequence[Utterance], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The figures of a corpus, all of one task, ready for JSON. Rates are fractions: Σ edits / Σ reference units.

    Of speech recognition: `wer`, `cer`, and per reference word `sub`, `del`, `ins`, which add up to `wer`; `ci`
    [low, high] of `wer` and `ci_unit` ("speaker" or "utterance": what was resampled, see `bootstrap_ci`); the
    counts `n`, `ref_words`, `ref_chars`, `edits` (of words), `insertions`, `empty_outputs` (nothing recognised
    though something was said) and `truncated_outputs`; `empty_share`, of the clips in which something was said, and
    `truncated_share`, of all, which are None where nobody says what was cut; `non_speech`, the clips in which nothing
    was said, and `hallucination_rate`, the share of these in which words were recognised; `seconds` of audio.

    Without any reference word a rate has no meaning: rates and `ci` are None, and `insertions` tells how much
    was made up. `ci` is None for a single utterance too.

    Of other tasks: `accuracy`, the share of answers that equal their reference once both are normalised, with its
    `ci` and `ci_unit`, `n`, `errors`, and what is said above of empty and truncated outputs and of `seconds`; of
    classification also `macro_f1` and `confusion` (see `antiphon.evaluate.answers`).

    Raises `DataError` when there is no utterance.
    """
    if not utterances:
        raise DataError("there are no utterances to score: the evaluation set is empty; give it at least one row")
    speakers = [row.speaker for row in utterances]
    errors, words = [row.wer_errors for row in utterances], [row.ref_words for row in utterances]
    ci = bootstrap_ci(errors, words, speakers, level, resamples, seed)
    common = {
        "ci_unit": "speaker" if resampled_in_blocks(speakers) else "utterance",
        "n": len(utterances),
        **_missing_text(utterances),
        "seconds": sum(row.seconds for row in utterances),
    }
    interval = None if ci is None else list(ci)
    return (_recognition if utterances[0].task == "asr" else _answers)(utterances, interval) | common


def _missing_text(utterances: Sequence[Utterance]) -> dict[str, Any]:
    spoken = [row for row in utterances if row.ref_clean]
    empty, cut = sum(not row.pred_clean for row in spoken), [row.truncated for row in utterances]
    truncated = None if None in cut else sum(map(bool, cut))
    return {
        "empty_outputs": empty,
        "empty_share": _rate(empty, len(spoken)),
        "truncated_outputs": truncated,
        "truncated_share": None if truncated is None else _rate(truncated, len(utterances)),
    }


def main_measure(summary: Mapping[str, Any]) -> str:
    """The key of what a summary's set is measured by first of all, of which `ci` is the interval."""
    return "wer" if "wer" in summary else "accuracy"


def _answers(utterances: Sequence[Utterance], error_ci: list[float] | None) -> dict[str, Any]:
    errors = sum(row.wer_errors for row in utterances)
    measures = {
        "accuracy": 1 - errors / len(utterances),
        "ci": error_ci and [1 - error_ci[1], 1 - error_ci[0]],
        "errors": errors,
    }
    if utterances[0].task != "classify":
        return measures
    return measures | label_measures([row.ref_clean for row in utterances], [row.pred_clean for row in utterances])


def _recognition(utterances: Sequence[Utterance], ci: list[float] | None) -> dict[str, Any]:
    ref_words = sum(row.ref_words for row in utterances)
    ref_chars = sum(row.ref_chars for row in utterances)
    edits = sum(row.wer_errors for row in utterances)
    insertions = sum(row.ins for row in utterances)
    non_speech = [row for row in utterances if not row.ref_clean]
    return {
        "wer": _rate(edits, ref_words),
        "ci": ci,
        "cer": _rate(sum(row.cer_errors for row in utterances), ref_chars),
        "sub": _rate(sum(row.sub for row in utterances), ref_words),
        "del": _rate(sum(row.del_ for row in utterances), ref_words),
        "ins": _rate(insertions, ref_words),
        "ref_words": ref_words,
        "ref_chars": ref_chars,
        "edits": edits,
        "insertions": insertions,
        "non_speech": len(non_speech),
        "hallucination_rate": _rate(sum(bool(row.pred_clean) for row in non_speech), len(non_speech)),
    }


def _rate(edits: int, length: int) -> float | None:
    return edits / length if length else None
