"""`Door`: accepts connections, no more than can be afforded, in all and of one address."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

__all__ = ["Door", "Guest", "turn_away"]

log = logging.getLogger("tastemaker.connections")

AT_ONCE = 128
"""Most connections that are accepted before requests get their turn"""

SURPLUS = 32
"""Connections over the limit that are held to be told so, or to be probes"""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds without accepting after an error, doubled with each further one"""

_ATTACH_FILTER = 26
"""Linux's SO_ATTACH_FILTER, which Python does not name"""


class Guest(Protocol):
    """A connection as the door sees it."""

    address: str
    surplus: bool
    """Whether it is over the limit: then only probes are answered"""

    def is_idle(self) -> bool:
        """Return whether no request of it is being answered."""

    def has_asked(self) -> bool:
        """Return whether it has sent a request at all."""

    def end(self) -> None:
        """Close it now."""


class Door:
    """The connections of a worker.

    Where there are too many, in all or of one address, the one that has been silent for the longest makes room: first of those
    that never asked anything. Where all are being answered, the newcomer is told so (503), unless it is a probe.
    """

    def __init__(self, most: int, most_of_one: int, *, unlimited: Callable[[str], bool]) -> None:
        """``unlimited`` says which addresses may have as many as there are, such as a proxy's."""
        self.most, self._most_of_one, self._unlimited = most, most_of_one, unlimited
        self._silent: dict[Guest, None] = {}
        """Those that never asked, the longest silent first"""
        self._resting: dict[Guest, None] = {}
        """Those between two requests, the longest resting first"""
        self._of: Counter[str] = Counter()
        self.count = 0
        self._listener: socket.socket | None = None
        self._pause = FIRST_PAUSE
        self._later: asyncio.TimerHandle | None = None
        self._closing = False
        self._tasks: set[asyncio.Task[object]] = set()

    # What connections tell

    def comes(self, guest: Guest) -> None:
        """Take a new connection in, and make room for it where there is none."""
        address = guest.address
        if self._of[address] >= self._most_of_one and not self._unlimited(address):
            guest.surplus = not self._end_one(address)
        elif self.count >= self.most:
            guest.surplus = not self._end_one(None)
        self.count += 1
        self._of[address] += 1
        self._silent[guest] = None

    def asks(self, guest: Guest) -> None:
        """Note that a connection's request is being answered."""
        self._silent.pop(guest, None)
        self._resting.pop(guest, None)

    def rests(self, guest: Guest) -> None:
        """Note that a connection's request was answered, and that it stays."""
        self._resting[guest] = None

    def goes(self, guest: Guest) -> None:
        """Note that a connection is closed."""
        self.asks(guest)
        self.count -= 1
        self._of[guest.address] -= 1
        if not self._of[guest.address]:
            del self._of[guest.address]
        if self._later is not None and self._listener is not None:
            self._open_again()

    def _end_one(self, address: str | None) -> bool:
        for guests in (self._silent, self._resting):
            for guest in guests:
                if address is None or guest.address == address:
                    log.warning("too many connections: those that are silent are closed")
                    guests.pop(guest)
                    guest.end()
                    return True
        return False

    # What the event loop tells

    def open(self, listener: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        """Accept connections from now on."""
        listener.setblocking(False)
        self._listener, self._factory = listener, factory
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def close(self, *, alone: bool) -> None:
        """Accept what waits in the socket's queue, and no more; ``alone`` says that no other process shares the socket."""
        if self._listener is None:
            return
        self._closing = True
        if alone:
            turn_away(self._listener)
        while self._accept():
            pass
        self._shut()
        self._listener.close()
        self._listener = None

    def _accept(self) -> bool:
        """Accept what waits, and return whether more may wait."""
        listener = self._listener
        if listener is None:
            return False
        loop = asyncio.get_running_loop()
        for _ in range(AT_ONCE):
            if self.count + len(self._tasks) >= self.most + SURPLUS and not self._closing:
                self._wait_a_moment()
                return False
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionAbortedError:
                continue
            except OSError as error:
                log.error("a connection could not be accepted: %s", error.strerror or error)
                self._end_one(None)
                self._wait_a_moment()
                return False
            self._pause = FIRST_PAUSE
            connection.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(self._factory, connection))
            self._tasks.add(task)
            task.add_done_callback(self._came)
        return True

    def _came(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a connection failed at once: %s", task.exception())

    def _wait_a_moment(self) -> None:
        if self._later is None:
            self._shut()
            self._later = asyncio.get_running_loop().call_later(self._pause, self._open_again)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _shut(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)

    def _open_again(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def all_came(self) -> None:
        """Wait until every accepted connection has its protocol."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def turn_away(listener: socket.socket) -> None:
    """Let a listening socket take no further connection, while those in its queue can still be accepted.

    The kernel drops what arrives (Linux's socket filter), so that a client's second try finds the next server, or none; closing
    the socket alone would reset what came between the last accept and the close. All processes that share the socket share this.
    """
    nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # return 0: keep no byte
    program = struct.pack("HP", 1, ctypes.addressof(nothing))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
