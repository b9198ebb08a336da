"""Which host names a server answers to: a web page under another name that resolves to this machine must not read from it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from tastemaker.serving.front.settings import Settings

__all__ = ["answers_to", "is_loopback"]

MOST_KNOWN = 100
"""How many values of the header ``Host`` are remembered"""


def is_loopback(host: str) -> bool:
    """Return whether a name or an address reaches this machine alone.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "shop.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def answers_to(settings: Settings) -> Callable[[bytes], bool] | None:
    """Return a function that says whether a header ``Host`` names this server; ``None`` where any name will do.

    A server without keys that listens on this machine alone answers to this machine's names and to the allowed ones. Any
    other server answers to every name, unless some are allowed: then to those and to this machine's.
    """
    guarded = settings.keys is None and is_loopback(settings.host)
    if not guarded and not settings.allowed_hosts:
        return None
    allowed = frozenset(name.lower().rstrip(".") for name in settings.allowed_hosts)
    known: set[bytes] = set()

    def is_named(host: bytes) -> bool:
        if host in known:
            return True
        name = _name_of(host.decode("latin-1"))
        named = name in allowed or is_loopback(name)
        if named and len(known) < MOST_KNOWN:
            known.add(host)
        return named

    return is_named


def _name_of(host: str) -> str:
    """Return the name in a header ``Host`` without its port, in lower case, an IPv6 address without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")
