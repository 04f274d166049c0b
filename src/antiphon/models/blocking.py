"""Blocks further tokens of a policy."""

from __future__ import annotations

from typing import Any

import torch

from antiphon.errors import ConfigError


def block_from(policy: Any, first: int) -> None:
    """Block every token from id `first` on, except stop tokens, for vocabularies that end with control tokens.

    Raises `ConfigError` if the policy's actions are not tokens, or if only stop tokens would be left.
    """
    if not policy.token_level:
        raise ConfigError("'rollout.block_tokens_from' is for models that emit tokens; leave it out")
    stops = sorted(policy.stop_ids)
    for blocked in (policy.blocked, policy.blocked_first):
        stoppable = blocked[stops]
        blocked[first:] = True
        blocked[stops] = stoppable
        if int((~blocked).sum()) <= int((~stoppable).sum()):
            raise ConfigError(f"'rollout.block_tokens_from' {first} leaves no token but those that stop; raise it")
    policy.blocking = torch.stack([policy.blocked, policy.blocked_first])
