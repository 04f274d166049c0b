"""Speech recognition: transcribe a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from antiphon.errors import DataError
from antiphon.tasks.columns import Column
from antiphon.tasks.request import TRANSCRIBE, asked
from antiphon.tasks.task import Answered, Clean, Row, Task
from antiphon.tasks.words import count_words, rate, total
from antiphon.types import Example, Hertz, Prompt

INSTRUCTION = TRANSCRIBE


class Recognition(Task):
    """Measured by corpus WER and CER: Σ edits / Σ reference words or characters."""

    name = "asr"
    reward = "wer"
    by_word = True
    transcribes = True
    columns = (
        Column("wer", "WER"),
        Column("cer", "CER"),
        Column("sub", "substituted", "sub"),
        Column("del", "deleted", "del"),
        Column("ins", "inserted", "ins"),
        Column("hallucination_rate", "hallucinated", "made up", optional=True),
    )

    def prompt(
        self, example: Example, waveform: np.ndarray | None, rate: Hertz, language: str = "auto", context: str = ""
    ) -> Prompt:
        """What the example's own row asks comes first (`antiphon.tasks.request`).

        Raises `DataError` if `language` is "given" and the example has none.
        """
        return asked(self.plain(example, waveform, rate, language, context), example)

    def plain(
        self, example: Example, waveform: np.ndarray | None, rate: Hertz, language: str = "auto", context: str = ""
    ) -> Prompt:
        """Like `prompt`, whatever the row asks."""
        if language == "given" and not example.language:
            raise DataError(
                f"example {example.id!r} has no language, but language=given needs one; add the column, or set "
                "language=auto"
            )
        forced = {"auto": None, "given": example.language}.get(language, language)
        return Prompt(example.id, waveform, rate, INSTRUCTION, context, forced, transcribe=True)

    def measure(self, answered: Answered, clean: Clean) -> Row:
        return count_words(self, answered, clean)

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`wer`, `cer`, and per reference word `sub`, `del`, `ins`, which add up to `wer`; the counts `ref_words`,
        `ref_chars`, `edits` (of words) and `insertions`; `non_speech`, the number of clips without speech, and
        `hallucination_rate`, the share of these with a non-empty transcript.

        Without reference words the rates are None; `insertions` then counts the hallucinated words.
        """
        ref_words, ref_chars = total(rows, "ref_words"), total(rows, "ref_chars")
        edits, insertions = total(rows, "wer_errors"), total(rows, "ins")
        non_speech = [row for row in rows if not row["ref_clean"]]
        return {
            "wer": rate(edits, ref_words),
            "cer": rate(total(rows, "cer_errors"), ref_chars),
            "sub": rate(total(rows, "sub"), ref_words),
            "del": rate(total(rows, "del"), ref_words),
            "ins": rate(insertions, ref_words),
            "ref_words": ref_words,
            "ref_chars": ref_chars,
            "edits": edits,
            "insertions": insertions,
            "non_speech": len(non_speech),
            "hallucination_rate": rate(sum(bool(row["pred_clean"]) for row in non_speech), len(non_speech)),
        }


task = Recognition()
