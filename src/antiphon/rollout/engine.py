"""Engines turn prompts into completions: their protocol, and how a recipe's `rollout.engine` loads one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from antiphon.config import validate_settings
from antiphon.config.plugins import Kind
from antiphon.config.rollout import Rollout
from antiphon.errors import ConfigError
from antiphon.models.policy import Policy, Sampling
from antiphon.types import Completion, Prompt

KEY = "rollout.engine"


@dataclass(frozen=True)
class Capabilities:
    """What an engine accepts and returns."""

    token_ids: bool = True
    """Completions carry the exact sampled ids, including the stop token."""
    logprobs: bool = True
    """Completions carry the log-probability of each id under the distribution sampled from."""
    audio: bool = True
    """Prompts may carry a waveform."""


class Source(Protocol):
    """Provides the completions of a step."""

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in order. Randomness is (seed, step, prompt id, sample index)."""
        ...


class Engine(Source, Protocol):
    """Samples from the model being trained. Completions carry the version of the weights that sampled them."""

    capabilities: Capabilities

    def sync(self, policy: Policy, version: int) -> None:
        """Sample from the weights of `policy` from now on; `version` is the number of steps they were trained for.

        An engine with its own weights copies them. Prompt token ids, blocked ids and stop ids come from the policy (see
        `antiphon.models.policy.TokenPolicy`).
        """
        ...

    def greedy(
        self, prompts: Sequence[Prompt], max_new_tokens: int, concurrency: int | None = None
    ) -> list[Completion]:
        """One greedily decoded completion per prompt, in order.

        `concurrency` is the most prompts to decode at once; by default the engine's own limits apply.
        """
        ...


ENGINE = Kind("engine", "antiphon.rollout.engines", ("Settings", "build"), function=True)


def load_engine(policy: Policy, rollout: Rollout) -> Engine:
    """The engine that `rollout.engine` names, for `policy`.

    A module of `antiphon.rollout.engines`, or one like it, has `Settings` and `build(policy, rollout, settings)`. A
    function or class of the user's, `file.py:name`, is called as `name(policy, rollout, **options)`.

    Raises `ConfigError` for an unknown engine or option, and for an engine that cannot do what training needs.
    """
    options = dict(rollout.engine)
    name = options.pop("name")
    part = ENGINE.load(name, KEY)
    if hasattr(part, "build"):
        engine = part.build(policy, rollout, validate_settings(part.Settings, options, where="", prefix=KEY))
    else:
        engine = _called(part, policy, rollout, options)
    _require(name, engine, policy)
    return engine


def _called(part: Callable[..., Any], policy: Policy, rollout: Rollout, options: dict[str, Any]) -> Any:
    try:
        inspect.signature(part).bind(policy, rollout, **options)
    except TypeError as error:
        raise ConfigError(
            f"'{KEY}': its options do not match its signature: {error}; it is called as (policy, rollout, **options)"
        ) from error
    return part(policy, rollout, **options)


def _require(name: str, engine: Any, policy: Policy) -> None:
    missing = [one for one in ("capabilities", "sync", "rollout", "greedy") if not hasattr(engine, one)]
    if missing:
        raise ConfigError(
            f"'rollout.engine': {name} is not an engine: it has no {', '.join(missing)} (docs/extend/engine.md)"
        )
    capabilities: Capabilities = engine.capabilities
    wanted: Mapping[str, bool] = {"token_ids": True, "logprobs": True, "audio": bool(policy.rate)}
    unsupported = [one for one, needed in wanted.items() if needed and not getattr(capabilities, one)]
    if unsupported:
        raise ConfigError(
            f"'rollout.engine': {name} does not support {', '.join(unsupported)}, which this run needs; "
            "use another engine, such as in_process"
        )
