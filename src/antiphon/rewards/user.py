"""Rewards written by the user: a function of a batch in TRL's form, or a function of one sample."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from antiphon.errors import ConfigError, RewardError
from antiphon.rewards.imports import describe, import_function
from antiphon.rewards.running import together
from antiphon.rewards.sample import RewardFunction, Sample
from antiphon.types import Reward

CONCURRENT_CALLS = 64
"""How many calls of an async per-sample function are in flight at a time."""

_BATCH_ARGUMENTS = frozenset({"prompts", "completions", "completion_ids"})


def load_user_reward(spec: str) -> RewardFunction:
    """The reward at `file.py:function` or `package.module:function`; its signature tells the form.

    Batch: `f(prompts, completions, completion_ids, **columns) -> list[float | None]`, as TRL's GRPOTrainer
    calls it. Of these arguments a function may name those it needs. `columns` are lists, one value a sample:
    every further column of the dataset (None where a row lacks it), and `id`, `text` and `reference` (both
    the reference text), `language`, `speaker`. None in the result: the reward does not apply to that sample.

    Per sample: `f(sample: Sample) -> float`, one positional parameter.

    Either may be `async`; async calls per sample run concurrently.

    Raises `ConfigError` when there is no such function or its signature has neither form.
    """
    function = import_function(spec)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError as error:
        raise ConfigError(f"the reward {spec!r} has no readable signature; wrap it in a function") from error
    takes_columns = any(one.kind is one.VAR_KEYWORD for one in parameters)
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one.name for one in positional if one.default is one.empty]
    required_by_name = any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters)
    if _BATCH_ARGUMENTS & {one.name for one in parameters} or (takes_columns and not positional):
        return BatchReward(spec, function)
    if not required_by_name and (len(required) == 1 or (len(positional) == 1 and not required)):
        return SampleReward(spec, function)
    raise ConfigError(
        f"the reward {spec!r} has the parameters ({', '.join(map(str, parameters))}), which is neither form; "
        "write f(sample) for one sample, or f(prompts, completions, completion_ids, **columns) for a batch"
    )


class SampleReward:
    """A function of one `Sample`, sync or async, that returns a number, or a `Reward` with parts to log."""

    def __init__(self, name: str, function: Callable[[Sample], Any]) -> None:
        self.name = name
        self._function = function

    async def score(self, samples: Sequence[Sample]) -> list[Reward | None]:
        limit = asyncio.Semaphore(CONCURRENT_CALLS)
        return await together(self._score(sample, limit) for sample in samples)

    async def _score(self, sample: Sample, limit: asyncio.Semaphore) -> Reward | None:
        async with limit:
            try:
                value = self._function(sample)
                if inspect.isawaitable(value):
                    value = await value
            except Exception as error:
                raise RewardError(
                    f"reward {self.name!r} failed on sample {sample.title}: {describe(error)}; "
                    "make it handle such a sample"
                ) from error
        if value is None:
            raise RewardError(
                f"reward {self.name!r} returned None for sample {sample.title}; return a number "
                "(only the batch form may leave samples out)"
            )
        return value if isinstance(value, Reward) else Reward(_number(value, self.name, sample))


class BatchReward:
    """A function in TRL's form, sync or async, called once with the whole batch."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self._function = function

    async def score(self, samples: Sequence[Sample]) -> list[Reward | None]:
        if not samples:
            return []
        span = f"a batch of {len(samples)}, {samples[0].title} to {samples[-1].title}"
        arguments = self._arguments(samples)
        try:
            values = self._function(**arguments)
            if inspect.isawaitable(values):
                values = await values
        except Exception as error:
            raise RewardError(
                f"reward {self.name!r} failed on {span}: {describe(error)}; make it handle such samples"
            ) from error
        if hasattr(values, "tolist"):
            values = values.tolist()
        if not isinstance(values, list | tuple) or len(values) != len(samples):
            length = f" of length {len(values)}" if isinstance(values, list | tuple) else ""
            got = f"a {type(values).__name__}{length}"
            raise RewardError(
                f"reward {self.name!r} returned {got} for {span}; "
                "return a list with one number, or None, for each sample"
            )
        return [
            None if value is None else Reward(_number(value, self.name, sample))
            for value, sample in zip(values, samples, strict=True)
        ]

    def _arguments(self, samples: Sequence[Sample]) -> dict[str, list[Any]]:
        offered = _columns(samples, self.name)
        parameters = inspect.signature(self._function).parameters.values()
        named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        for one in named:
            if one.default is one.empty and one.name not in offered:
                raise RewardError(
                    f"reward {self.name!r} asks for the column {one.name!r}, which no row of the batch has "
                    f"(there are: {', '.join(offered)}); add it to the data, or give the parameter a default"
                )
        if any(one.kind is one.VAR_KEYWORD for one in parameters):
            return offered
        return {one.name: offered[one.name] for one in named if one.name in offered}


def _columns(samples: Sequence[Sample], reward: str) -> dict[str, list[Any]]:
    """Every argument a batch function can be given, by name."""
    offered: dict[str, list[Any]] = {
        "prompts": [sample.prompt for sample in samples],
        "completions": [sample.response for sample in samples],
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
                f"the dataset's column {name!r} has the name of an argument that rewards are given, "
                f"so {reward!r} cannot be given both; rename the column"
            )
        offered[name] = [sample.metadata.get(name) for sample in samples]
    return offered


def _number(value: Any, reward: str, sample: Sample) -> float:
    if hasattr(value, "item"):  # a numpy or torch scalar
        with contextlib.suppress(ValueError, RuntimeError):
            value = value.item()
    if not isinstance(value, numbers.Real):
        raise RewardError(
            f"reward {reward!r} returned {value!r} for sample {sample.title}, which is not a number; "
            "return an int or a float"
        )
    return float(value)
