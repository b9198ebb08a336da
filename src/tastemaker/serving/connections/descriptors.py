"""How many files and connections a process may have open."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

__all__ = ["RESERVED", "affordable_connections", "raise_the_limit"]

WANTED = 65_536
"""The soft limit that is asked for at start, where the hard one allows it"""

RESERVED = 128
"""Descriptors kept for models, events, logs and probes"""

FEWEST = 8


def raise_the_limit() -> int:
    """Raise the soft limit of open files as far as is useful and allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def affordable_connections(wanted: int) -> int:
    """Return how many connections this process may hold: as many as wanted, but fewer than its limit of open files allows."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(FEWEST, min(wanted, soft - RESERVED - _opened()))


def _opened() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 64
