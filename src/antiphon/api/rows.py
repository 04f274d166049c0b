"""Results of evaluation functions for one row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class EvalRowResult:
    """The result of one row.

    Args:
        score: The score, averaged in `EvalResult.mean`; None for failed rows.
        response: The model's answer.
        prompt: The prompt: text, or a conversation's messages.
        metadata: Other JSON values to keep with the row.
        error: Why the row failed; set by `EvalConfig.evaluate` if the function raises.

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
    """The result of a row with a clip; the dashboard shows a player, the reference and the metrics.

    Args:
        score: As for `EvalRowResult`, like the next four.
        audio: The clip: a path, a data URI, bytes, or (waveform, rate).
        reference: The reference transcript.
        metrics: Metrics of this row, such as `{"wer": 0.25}`; `EvalResult.metrics` has their means.

    The last three are merged into `metadata`, with `"_metadata_type": "audio"`.
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
