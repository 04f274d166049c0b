"""Reward functions in TRL's form: one call per batch, with one list per column."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from antiphon.config.rollout import RewardLimits
from antiphon.errors import RewardError
from antiphon.rewards.calling import call, failed, to_reward, worker_for
from antiphon.rewards.sample import Sample, Scored


class BatchReward:
    """`f(prompts, completions, completion_ids, **columns) -> list[float | None]`, sync or async, one call per batch."""

    def __init__(
        self, name: str, function: Callable[..., Any], limits: RewardLimits, highest: float | None = None
    ) -> None:
        self.name, self.highest = name, highest
        self._function, self._limits = function, limits
        self._worker = worker_for(function, limits)

    async def score(self, samples: Sequence[Sample]) -> list[Scored]:
        if not samples:
            return []
        arguments = self._arguments(samples)
        try:
            values = await self._call(arguments, samples)
        except RewardError as error:
            return [failed(error, self._limits)] * len(samples)
        return [self._scored(value, sample) for value, sample in zip(values, samples, strict=True)]

    async def _call(self, arguments: dict[str, list[Any]], samples: Sequence[Sample]) -> Sequence[Any]:
        """The function's results. Raises `RewardError` if it fails, or does not return one for each sample."""
        span = f"a batch of {len(samples)}, {samples[0].title} to {samples[-1].title}"
        what = f"reward {self.name!r} failed on {span}"
        values = await call(lambda: self._function(**arguments), self._limits, what, self._worker)
        if hasattr(values, "tolist"):
            values = values.tolist()
        if not isinstance(values, list | tuple) or len(values) != len(samples):
            length = f" of length {len(values)}" if isinstance(values, list | tuple) else ""
            raise RewardError(
                f"reward {self.name!r} returned a {type(values).__name__}{length} for {span}; "
                "return a list with one number, or None, for each sample"
            )
        return values

    def _scored(self, value: Any, sample: Sample) -> Scored:
        if value is None:
            return None
        try:
            return to_reward(value, self.name, sample)
        except RewardError as error:
            return failed(error, self._limits)

    def _arguments(self, samples: Sequence[Sample]) -> dict[str, list[Any]]:
        offered = _columns(samples, self.name)
        parameters = inspect.signature(self._function).parameters.values()
        named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        for one in named:
            if one.default is one.empty and one.name not in offered:
                raise RewardError(
                    f"reward {self.name!r} needs the column {one.name!r}, which no row of the batch has "
                    f"(columns: {', '.join(offered)}); add it to the data, or give the parameter a default"
                )
        if any(one.kind is one.VAR_KEYWORD for one in parameters):
            return offered
        return {one.name: offered[one.name] for one in named if one.name in offered}


def _completion(sample: Sample) -> Any:
    """As TRL has it: the answer's text, or a list of one message where the row's prompt was a chat; or the audio."""
    if sample.audio is not None:
        return sample.audio
    return [{"role": "assistant", "content": sample.response}] if sample.chat else sample.response


def _columns(samples: Sequence[Sample], reward: str) -> dict[str, list[Any]]:
    """All arguments that a batch function may take, by name. Raises `RewardError` for a column with a reserved name."""
    offered: dict[str, list[Any]] = {
        "prompts": [sample.chat or sample.prompt for sample in samples],
        "completions": [_completion(sample) for sample in samples],
        "completion_ids": [list(sample.completion_ids) for sample in samples],
        "id": [sample.id for sample in samples],
        "text": [sample.label for sample in samples],
        "reference": [sample.label for sample in samples],
        "language": [sample.language for sample in samples],
        "speaker": [sample.speaker for sample in samples],
    }
    further = dict.fromkeys(name for sample in samples for name in sample.metadata)
    for name in further:
        if name in offered:
            raise RewardError(
                f"the dataset's column {name!r} has the name of an argument of reward functions, "
                f"so {reward!r} cannot receive both; rename the column"
            )
        offered[name] = [sample.metadata.get(name) for sample in samples]
    return offered
