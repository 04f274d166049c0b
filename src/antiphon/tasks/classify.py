"""Classification: hear a clip, name its class. The label is the example's text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from antiphon.tasks import asr
from antiphon.types import Example, Hertz, Prompt

INSTRUCTION = "Classify the audio. Respond with only the label."


def prompt(example: Example, waveform: np.ndarray, rate: Hertz, language: str = "auto", context: str = "") -> Prompt:
    """The request for one clip; arguments and errors are those of `antiphon.tasks.asr.prompt`.

    A model that writes its answer has to learn from `context` which labels there are; a classifier knows its own.
    """
    asked = asr.prompt(example, waveform, rate, language, context)
    return replace(asked, task="classify", instruction=INSTRUCTION)
