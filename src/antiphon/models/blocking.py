"""Tokens that a policy may not sample beyond those it was built without."""

from __future__ import annotations

from typing import Any

import torch

from antiphon.errors import ConfigError


def block_from(policy: Any, first: int) -> None:
    """Block every token from id `first` on, stop tokens apart, as a vocabulary with its control tokens at its end asks.

    Raises `ConfigError` where the policy's actions are not tokens, and where nothing would be left to say.
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
