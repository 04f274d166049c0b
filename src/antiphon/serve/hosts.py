"""The host names that a server answers to.

A web page can make its own name resolve to 127.0.0.1 (DNS rebinding), and then read a server there as if it were the
page's own. Such a request carries the page's name in `Host`, so unknown names are refused.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

LOCAL = ("localhost", "ip6-localhost")


def own_names(host: str, allowed: Sequence[str] = ()) -> frozenset[str]:
    """The names of a server that listens on `host`: the local ones, `allowed`, and beyond loopback the machine's."""
    beyond = () if _is_loopback(host) else (socket.gethostname(), socket.getfqdn())
    return frozenset(one.lower() for one in (*LOCAL, host, *beyond, *allowed))


def is_own(header: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header names the server: by an IP address, or by one of `names`."""
    name = name_in(header)
    return not name or _is_address(name) or is_among(name, names)


def name_in(header: str) -> str:
    """The name in a `Host` header, without its port."""
    name = header.rpartition("]")[0].lstrip("[") if header.startswith("[") else header.partition(":")[0]
    return name.lower().rstrip(".")


def is_among(name: str, names: frozenset[str]) -> bool:
    """Whether a name is one of `names`: "*" stands for all, "*.example.org" for those below example.org."""
    return name in names or "*" in names or any(one.startswith("*.") and name.endswith(one[1:]) for one in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host in LOCAL or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
