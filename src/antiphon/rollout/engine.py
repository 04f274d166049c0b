"""Engines turn prompts into completions. This is what the loop needs of one, and how a recipe names it."""

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
    """What an engine returns and takes."""

    token_ids: bool = True
    """Completions carry the very ids that were sampled, the stop token included."""
    logprobs: bool = True
    """With the log-probability of each, of the distribution sampled from."""
    audio: bool = True
    """Prompts may carry a waveform."""


class Source(Protocol):
    """Where the completions of a step come from."""

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in order. Randomness is (seed, step, prompt id, sample index)."""
        ...


class Engine(Source, Protocol):
    """A sampler of the model being trained. Its completions carry the version of the weights that made them."""

    capabilities: Capabilities

    def sync(self, policy: Policy, version: int) -> None:
        """Sample from the weights of `policy` from now on; they have learned from `version` steps.

        An engine that keeps weights of its own takes a copy. The prompts' token ids, blocked ids and stop ids are the
        policy's to say (see `antiphon.models.policy`).
        """
        ...

    def greedy(
        self, prompts: Sequence[Prompt], max_new_tokens: int, concurrency: int | None = None
    ) -> list[Completion]:
        """The most probable token at each step, one completion a prompt.

        `concurrency` is the most prompts decoded at once; the engine's own limits by default.
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
            f"'{KEY}': its options do not fit: {error}; it is called with (policy, rollout, **options)"
        ) from error
    return part(policy, rollout, **options)


def _require(name: str, engine: Any, policy: Policy) -> None:
    absent = [one for one in ("capabilities", "sync", "rollout", "greedy") if not hasattr(engine, one)]
    if absent:
        raise ConfigError(
            f"'rollout.engine': {name} is not an engine: it has no {', '.join(absent)} (docs/extend/engine.md)"
        )
    able: Capabilities = engine.capabilities
    wanted: Mapping[str, bool] = {"token_ids": True, "logprobs": True, "audio": bool(policy.rate)}
    unable = [one for one, needed in wanted.items() if needed and not getattr(able, one)]
    if unable:
        raise ConfigError(
            f"'rollout.engine': {name} does not return or take {', '.join(unable)}, which this run needs; "
            "use another engine, such as in_process"
        )
