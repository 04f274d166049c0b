"""Speech recognition: hear a clip, write what was said."""

from __future__ import annotations

import numpy as np

from antiphon.errors import DataError
from antiphon.types import Example, Hertz, Prompt

INSTRUCTION = "Transcribe the speech to text. Respond with only the transcript."


def prompt(example: Example, waveform: np.ndarray, rate: Hertz, language: str = "auto", context: str = "") -> Prompt:
    """The request for one clip; `waveform` is mono float32 [samples] at `rate`.

    `language` is "auto" (the model finds it), "given" (the example's own) or a language for every clip.
    Raises `DataError` when the example has no language and "given" asks for one.
    """
    if language == "given" and not example.language:
        raise DataError(
            f"example {example.id!r} has no language, which language=given needs; add the column, or set language=auto"
        )
    forced = {"auto": None, "given": example.language}.get(language, language)
    return Prompt(
        id=example.id,
        task="asr",
        waveform=waveform,
        rate=rate,
        instruction=INSTRUCTION,
        context=context,
        language=forced,
    )
