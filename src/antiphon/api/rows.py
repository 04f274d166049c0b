"""What an evaluation function returns for one row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class EvalRowResult:
    """How one row of a data set went.

    Args:
        score: What `EvalResult.mean` is the mean of; None in rows that failed.
        response: What the model answered.
        prompt: What it was asked: text, or a conversation's messages.
        metadata: Whatever else is to be kept of the row, as JSON can hold it.
        error: Why the row failed; `EvalConfig.evaluate` sets it where the function raised.

    Example:
        ```python
        def polite(deployment, example):
            answer = deployment.generate(example["prompt"])
            return EvalRowResult(score=float("please" in answer), response=answer, prompt=example["prompt"])
        ```
    """

    score: float | None
    response: str = ""
    prompt: Any = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass
class AudioEvalRowResult(EvalRowResult):
    """A row with a clip, which the dashboard shows with a player beside reference and metrics.

    Args:
        score: As for `EvalRowResult`, and likewise the next four.
        audio: The clip: a path, a data URI, bytes, or (waveform, rate).
        reference: What was said in it.
        metrics: Figures of this row by name, such as `{"wer": 0.25}`; their means are in `EvalResult.metrics`.

    The three are folded into `metadata`, which has `"_metadata_type": "audio"`.
    """

    audio: Any = None
    reference: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metadata = {
            "_metadata_type": "audio",
            "audio": self.audio,
            "reference": self.reference,
            "metrics": self.metrics,
            **self.metadata,
        }
