"""Text to text: answer a written prompt. There is no audio in it."""

from __future__ import annotations

from antiphon.errors import DataError
from antiphon.types import Example, Hertz, Prompt


def prompt(example: Example, waveform: None, rate: Hertz, language: str = "auto", context: str = "") -> Prompt:
    """The example's `prompt` column as the request, `context` as system prompt; no language is forced.

    Raises `DataError` when the example has no such column, or something other than text in it.
    """
    request = example.columns.get("prompt")
    if not isinstance(request, str) or not request.strip():
        raise DataError(f'example {example.id!r} has no "prompt", the text to answer; add the column')
    return Prompt(id=example.id, task="text", waveform=None, rate=rate, instruction=request, context=context)
