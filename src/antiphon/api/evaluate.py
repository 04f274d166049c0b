"""Evaluation by a user's function, row by row and concurrently."""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.api.prepare import named_or_class
from antiphon.api.rows import EvalRowResult
from antiphon.api.scores import save_result
from antiphon.config.plugins import Kind
from antiphon.errors import ConfigError
from antiphon.evaluate.bootstrap import bootstrap_ci, resampled_in_blocks
from antiphon.rewards.running import run_async, together
from antiphon.runs.status import now
from antiphon.types import Seconds

EVAL_FUNCTION = Kind("eval function", function=True)
EvalFunction = Callable[[Any, dict[str, Any]], "EvalRowResult | float | Awaitable[EvalRowResult | float]"]


@dataclass
class EvalResult:
    """The result of an evaluation.

    Attributes:
        rows: One result per row, in the data set's order.
        seconds: Duration of the evaluation.
        speakers: The speaker of each row, if given.
        path: The folder of the saved result.
    """

    rows: list[EvalRowResult]
    seconds: Seconds = 0.0
    speakers: Sequence[str | None] = ()
    path: Path | None = None

    @property
    def total(self) -> int:
        """The number of rows, failed ones included."""
        return len(self.rows)

    @property
    def failed(self) -> list[EvalRowResult]:
        """Rows for which the function raised, with their `error`."""
        return [row for row in self.rows if row.score is None]

    @property
    def mean(self) -> float | None:
        """The mean score of the rows that did not fail; None if all failed."""
        scores = [row.score for row in self.rows if row.score is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def ci(self) -> tuple[float, float] | None:
        """The 95% bootstrap interval of `mean`, over speakers if at least 10; None for fewer than two rows."""
        scored = [
            (row.score, who) for row, who in zip(self.rows, self._speakers(), strict=True) if row.score is not None
        ]
        return bootstrap_ci([score for score, _ in scored], [1] * len(scored), [who for _, who in scored])

    @property
    def metrics(self) -> dict[str, float]:
        """The mean of each metric in `metadata["metrics"]`, over the rows that have it."""
        values: dict[str, list[float]] = {}
        for row in self.rows:
            for name, value in row.metadata.get("metrics", {}).items():
                values.setdefault(name, []).append(value)
        return {name: sum(found) / len(found) for name, found in values.items()}

    def summary(self) -> dict[str, Any]:
        """The results as JSON-ready values: `n`, `failed`, `score`, `ci`, `ci_unit`, `metrics` and `seconds`."""
        return {
            "n": self.total,
            "failed": len(self.failed),
            "score": self.mean,
            "ci": None if self.ci is None else list(self.ci),
            "ci_unit": "speaker" if resampled_in_blocks(self._speakers()) else "utterance",
            "metrics": self.metrics,
            "seconds": self.seconds,
        }

    def _speakers(self) -> Sequence[str | None]:
        return self.speakers or [None] * len(self.rows)


@dataclass
class EvalConfig:
    """An evaluation: a data set and a function that scores its rows.

    Args:
        dataset: As for `TrainConfig`.
        eval_fn: `f(deployment, example)`, or the same as `async def`. `example` is a row of the data set; it returns
            an `EvalRowResult`, or a number, the score. Higher is better. Also as `"file.py:f"` or
            `"package.module:f"`.
        name: Name of the data set in reports; default: its own.
        output: Parent folder of `evals/` for models that are not checkpoints of a run.

    Example:
        ```python
        def words_right(deployment, example):
            transcript = deployment.transcribe(example["audios"])
            return float(transcript == example["label"])

        result = EvalConfig(dataset="builtin:digits-clean", eval_fn=words_right).evaluate(deployment)
        print(result.mean, result.ci, result.total)
        ```
    """

    dataset: Any
    eval_fn: EvalFunction | str
    name: str = ""
    output: str | Path = "runs"

    def evaluate(self, deployment: Any, debug: bool = False, max_concurrency: int = 8) -> EvalResult:
        """Score every row. If the function raises, the row is marked as failed and the others continue.

        The result is saved to `evals/` of the run whose checkpoint is deployed, or else of `output`.

        Args:
            deployment: The result of `DeploymentConfig.serve`, or any object that the function takes.
            debug: Print each row when done, and the traceback of each failure, on stderr.
            max_concurrency: Rows to evaluate concurrently. Functions that are not `async` run in threads.

        Returns:
            The rows in the data set's order, with mean and metrics.

        Raises:
            ConfigError: The data set or function does not exist, or `max_concurrency` is not positive.
            DataError: The data set cannot be loaded.
        """
        if max_concurrency < 1:
            raise ConfigError(f"max_concurrency must be at least 1, got {max_concurrency}")
        judge = EVAL_FUNCTION.load(self.eval_fn, "eval_fn") if isinstance(self.eval_fn, str) else self.eval_fn
        dataset = named_or_class(self.dataset, Path(self.output))
        examples = dataset.load()
        began = time.perf_counter()
        rows = _Scorer(judge, deployment, debug).all(examples, max_concurrency)
        result = EvalResult(rows, time.perf_counter() - began, [_speaker(example) for example in examples])
        function = getattr(judge, "__name__", type(judge).__name__)
        about = {"set": self.name or dataset.name, "function": function, "time": now()}
        result.path = save_result(deployment, about | result.summary(), rows, examples, Path(self.output))
        return result


class _Scorer:
    """Scores rows concurrently, in an event loop of its own, as the caller may have one running."""

    def __init__(self, function: EvalFunction, deployment: Any, debug: bool) -> None:
        self.function, self.deployment, self.debug = function, deployment, debug

    def all(self, examples: Sequence[dict[str, Any]], at_once: int) -> list[EvalRowResult]:
        threads = ThreadPoolExecutor(at_once, "evaluate")
        try:
            return run_async(self._all(examples, at_once, threads))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _all(
        self, examples: Sequence[dict[str, Any]], at_once: int, threads: ThreadPoolExecutor
    ) -> list[EvalRowResult]:
        places = asyncio.Semaphore(at_once)

        async def one(number: int, example: dict[str, Any]) -> EvalRowResult:
            async with places:
                row = await self._row(example, threads)
            if self.debug:
                print(f"row {number}: {_one_line(row)}", file=sys.stderr, flush=True)
            return row

        return await together(one(number, example) for number, example in enumerate(examples))

    async def _row(self, example: dict[str, Any], threads: ThreadPoolExecutor) -> EvalRowResult:
        try:
            if inspect.iscoroutinefunction(self.function):
                found = await self.function(self.deployment, example)
            else:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(threads, self.function, self.deployment, example)
            return _as_result(await found if inspect.isawaitable(found) else found)
        except Exception as error:
            if self.debug:
                traceback.print_exc()
            return EvalRowResult(None, error=f"{type(error).__name__}: {error}")


def _as_result(found: Any) -> EvalRowResult:
    """Check the function's return value and score. Raises `TypeError` or `ValueError` if invalid."""
    if isinstance(found, int | float) or hasattr(found, "item"):
        found = EvalRowResult(float(found))
    if not isinstance(found, EvalRowResult):
        raise TypeError(f"the function returned a {type(found).__name__}; return an EvalRowResult, or a number")
    if found.score is None or not math.isfinite(found.score):
        raise ValueError(f"the function's score is {found.score}; return a finite number, or raise an error")
    return found


def _one_line(row: EvalRowResult) -> str:
    if row.score is None:
        return f"failed: {row.error}"
    reference = row.metadata.get("reference")
    return f"{row.score:.3f}  {row.response!r}" + (f", of {reference!r}" if reference is not None else "")


def _speaker(example: Mapping[str, Any]) -> str | None:
    speaker = example.get("speaker")
    return None if speaker is None else str(speaker)
