"""Wraps the user's reward functions by their signatures: three forms for one sample, one for a batch."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence, Set
from types import SimpleNamespace
from typing import Any

from antiphon.config.rollout import RewardLimits
from antiphon.errors import ConfigError, RewardError
from antiphon.rewards.batch import BatchReward
from antiphon.rewards.calling import call, failed, to_reward, worker_for
from antiphon.rewards.running import together
from antiphon.rewards.sample import RewardFunction, Sample, Scored
from antiphon.rewards.threads import Worker
from antiphon.types import Reward

FORMS = """
  f(sample)                                                       one sample
  f(prompts, completions, completion_ids, **columns)              a batch, as TRL calls it
  f(args, sample, **kwargs)                                       one sample, as slime calls it
  f(data_source, solution_str, ground_truth, extra_info=None)     one sample, as verl calls it"""

_BATCH_ARGUMENTS = frozenset({"prompts", "completions", "completion_ids"})
_NO_ARGUMENTS = SimpleNamespace()
"""Passed as slime's command-line `args` in `f(args, sample)`; it has no attributes."""
_VERL_ARGUMENTS = frozenset({"data_source", "solution_str", "ground_truth", "extra_info"})


def as_reward(
    function: Callable[..., Any], name: str, limits: RewardLimits, highest: float | None = None
) -> RewardFunction:
    """`function` as a reward called `name`. The parameters determine the form; each form may be `async`.

    `highest` is the highest value that it can give, if that is known.

    Batch form: `f(prompts, completions, completion_ids, **columns) -> list[float | None]`, as TRL's GRPOTrainer calls
    it. A function may take only the arguments it needs. `columns` are lists with one value per sample: each further
    column of the dataset (None for a row without it), and `id`, `text` and `reference` (both the reference text),
    `language`, `speaker`. A None in the result means that the reward does not apply to that sample.

    Sample forms, one call per sample: `f(sample: Sample)`, slime's `f(args, sample, **kwargs)` with empty `args`, or
    verl's `f(data_source, solution_str, ground_truth, extra_info=None)`, of which only `solution_str` is required. The
    result is a number, a `Reward`, or a mapping with "score" and further numbers.

    Raises `ConfigError` if the signature matches none of these forms.
    """
    if inspect.isclass(function):
        raise ConfigError(f"the reward {name!r} is a class; name a function, or a callable instance")
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise ConfigError(f"the reward {name!r} has no readable signature; wrap it in a function") from error
    parameters = signature.parameters.values()
    names = {one.name for one in parameters}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one.name for one in positional if one.default is one.empty]
    by_name = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty}
    if _BATCH_ARGUMENTS & names or (takes_any and not positional and "solution_str" not in names):
        return BatchReward(name, function, limits, highest)

    def of_samples(call: Callable[[Sample], Any]) -> SampleReward:
        return SampleReward(name, call, limits, highest, worker_for(function, limits))

    if "solution_str" in names and {*required, *by_name} <= _VERL_ARGUMENTS:
        wanted = _VERL_ARGUMENTS if takes_any else names & _VERL_ARGUMENTS
        return of_samples(lambda sample: function(**_verl_arguments(sample, wanted)))
    if not by_name and len(required) == 2 and required[1] == "sample":
        return of_samples(lambda sample: function(_NO_ARGUMENTS, sample))
    if not by_name and (len(required) == 1 or (len(positional) == 1 and not required)):
        return of_samples(function)
    raise ConfigError(
        f"the reward {name!r} has the parameters {signature}, which match none of the accepted forms; use one of{FORMS}"
    )


def _verl_arguments(sample: Sample, wanted: Set[str]) -> dict[str, Any]:
    """The `wanted` ones of verl's arguments for `sample`.

    `data_source` is the column of that name, else "". `extra_info` holds the row's further columns, the entries of a
    column `extra_info`, and `id`, `index`, `prompt`, `language` and `speaker`.
    """
    columns = dict(sample.metadata)
    given = columns.pop("extra_info", None)
    own = {name: getattr(sample, name) for name in ("id", "index", "prompt", "language", "speaker")}
    offered = {
        "data_source": columns.get("data_source", ""),
        "solution_str": sample.response,
        "ground_truth": sample.label,
        "extra_info": {**own, **columns, **(given if isinstance(given, Mapping) else {})},
    }
    return {name: offered[name] for name in wanted}


class SampleReward:
    """A function of one `Sample`, sync or async. Up to `limits.concurrency` async calls run concurrently.

    Synchronous calls run one after the other.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Sample], Any],
        limits: RewardLimits,
        highest: float | None = None,
        worker: Worker | None = None,
    ) -> None:
        """`worker` is the thread to call a synchronous `function` in; None to call it in the event loop's."""
        self.name, self.highest = name, highest
        self._function, self._limits, self._worker = function, limits, worker

    async def score(self, samples: Sequence[Sample]) -> list[Scored]:
        slots = asyncio.Semaphore(self._limits.concurrency)
        return await together(self._score(sample, slots) for sample in samples)

    async def _score(self, sample: Sample, slots: asyncio.Semaphore) -> Scored:
        try:
            async with slots:
                return await self._reward(sample)
        except RewardError as error:
            return failed(error, self._limits)

    async def _reward(self, sample: Sample) -> Reward:
        what = f"reward {self.name!r} failed on sample {sample.title}"
        value = await call(lambda: self._function(sample), self._limits, what, self._worker)
        if value is None:
            raise RewardError(
                f"reward {self.name!r} returned None for sample {sample.title}; return a number "
                "(only the batch form may return None, where the reward does not apply)"
            )
        return to_reward(value, self.name, sample)
