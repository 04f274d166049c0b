"""A TCP port that nobody listens on."""

from __future__ import annotations

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """One of the system's choice. Another process may take it before its server does."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
