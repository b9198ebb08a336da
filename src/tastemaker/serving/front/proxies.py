"""Whose address a request comes from: the connection's, or the one that a trusted proxy names."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from tastemaker.errors import SettingProblem

__all__ = ["client_of", "trusts"]

MOST_ENTRIES = 20
"""So many entries of ``X-Forwarded-For`` are looked at, the last ones"""

LONGEST = 2_000
"""So many of its last bytes"""


def trusts(proxies: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that says whether an address is of a trusted proxy; raise `SettingProblem` for what is no address.

    >>> trusted = trusts(["127.0.0.1", "10.1.0.0/16"])
    >>> [trusted(address) for address in ("127.0.0.1", "10.1.2.3", "10.2.0.1", "", "nonsense")]
    [True, True, False, False, False]
    """
    networks = []
    for address in proxies:
        try:
            networks.append(ipaddress.ip_network(address))
        except ValueError:
            raise SettingProblem(
                f"{address!r} is no address of a proxy; give address such as 10.0.0.7, or a network such as 10.0.0.0/24."
            ) from None
    known: dict[str, bool] = {}

    def is_trusted(address: str) -> bool:
        if not networks:
            return False
        if address not in known:
            found = _address(address)
            verdict = found is not None and any(
                found in network for network in networks if network.version == found.version
            )
            if len(known) > 1_000:
                known.clear()
            known[address] = verdict
        return known[address]

    return is_trusted


def client_of(peer: str, forwarded: Iterable[bytes], trusted: Callable[[str], bool]) -> str:
    """Return who asks: the peer, or, where that is a trusted proxy, the last entry of ``X-Forwarded-For`` that is none.

    ``forwarded`` are the header's values, in the order in which they were sent. An entry that is no address ends the search.

    >>> client_of("127.0.0.1", [b"6.6.6.6, 8.8.4.4", b"10.1.0.9"], trusts(["127.0.0.1", "10.1.0.0/16"]))
    '8.8.4.4'
    """
    if not trusted(peer):
        return peer
    text = b",".join(value[-LONGEST:] for value in forwarded)[-LONGEST:].decode("latin-1")
    client = peer
    for entry in text.rsplit(",", MOST_ENTRIES)[: -MOST_ENTRIES - 1 : -1]:
        found = _address(entry.strip())
        if found is None:
            return client
        client = str(found)
        if not trusted(client):
            return client
    return client


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return found if mapped is None else mapped
