"""Finds a free TCP port."""

from __future__ import annotations

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A free port, chosen by the system. Another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
