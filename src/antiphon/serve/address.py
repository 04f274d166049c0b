"""Where a server listens, and to whom it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.errors import ConfigError
from antiphon.types import Seconds


@dataclass(frozen=True)
class Address:
    """Raises `ConfigError` for a key that no header can carry, and a `root_path` that is not a path."""

    host: str = "127.0.0.1"
    port: int = 8025
    api_key: str | None = None
    """Key that clients must send; None for no key."""
    root_path: str = ""
    """Path under which a proxy shows the server, such as "/antiphon"."""
    allow_hosts: Sequence[str] = ()
    """Further host names of the server (see `antiphon.serve.hosts`)."""
    allow_origins: Sequence[str] = ()
    """Origins of web pages that may use the server, such as "https://example.org"; "*" for all."""
    keep_alive_s: Seconds = 5.0
    """How long an idle connection is kept."""

    def __post_init__(self) -> None:
        if self.api_key is not None and not re.fullmatch(r"[!-~]+", self.api_key):
            raise ConfigError("the API key has to be ASCII letters, digits and signs, without spaces; choose another")
        if self.root_path and not re.fullmatch(r"(/[^/?#\s]+)+", self.root_path):
            raise ConfigError(f"--root-path {self.root_path!r} is not a path such as /antiphon, without a / at its end")
        for origin in self.allow_origins:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
                raise ConfigError(f"--allow-origin {origin!r} is not an origin such as https://example.org")
