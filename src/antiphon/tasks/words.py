"""Word and character errors of text answers, or exact match of whole answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.tasks.task import Answered, Clean, Row, Task, words_of
from antiphon.text.alignment import characters, count_errors, edit_count


def count_words(task: Task, answered: Answered, clean: Clean) -> Row:
    """The word and character errors of one answer; for a task that compares whole texts, the text is one word.

    Edits and lengths are counts after normalization. `ref_words` counts the units of `antiphon.text.alignment.units`:
    characters in scripts without spaces. `sub`, `del` and `ins` are word errors and add up to `wer_errors`.
    """
    ref, pred = clean(answered.language).pair(answered.example.text, words_of(answered.content))
    words = count_errors(task.words(ref), task.words(pred))
    ref_chars = characters(ref)
    return {
        "ref_clean": ref,
        "pred_clean": pred,
        "wer_errors": words.edits,
        "cer_errors": edit_count(ref_chars, characters(pred)),
        "ref_words": words.ref_len,
        "ref_chars": len(ref_chars),
        "sub": words.substitutions,
        "del": words.deletions,
        "ins": words.insertions,
    }


def total(rows: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(row[key] for row in rows)


def rate(count: int, length: int) -> float | None:
    """`count` / `length`; None if `length` is 0."""
    return count / length if length else None
