"""Ctrl-C (SIGINT) and SIGTERM, each handled at a moment when nothing is lost.

An exception raised wherever the program happens to be may be lost (imports and finalisers swallow some), come out of Polars as
a panic, or stop one half of a training step. So the process ends at once while it writes nothing, training stops between two
steps, and only writers get an exception, to clean up.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

__all__ = ["Stop", "end_at_once", "raise_at_once", "stop_between_steps"]

_Handler: TypeAlias = Callable[[int, FrameType | None], None]


class Stop:
    """Whether the user asked to stop."""

    asked = False

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if the user did."""
        if self.asked:
            raise KeyboardInterrupt


def end_at_once() -> None:
    """From now on, end the process at once: for work that writes nothing and leaves nothing to clean up."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(2, b"tastemaker: interrupted; nothing was written.\n")
        os._exit(1)

    for number in _heard():
        signal.signal(number, end)


@contextmanager
def raise_at_once() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at once in this block: for writers, who clean up."""
    with _handling(signal.default_int_handler):
        yield


@contextmanager
def stop_between_steps() -> Iterator[Stop]:
    """Note the signal, for code that calls `Stop.check` between two steps; a second one raises `KeyboardInterrupt` at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            signal.default_int_handler(number, frame)
        stop.asked = True

    with _handling(note):
        yield stop


def _heard() -> list[signal.Signals]:
    """Return the signals that are not ignored, as ``nohup`` and background jobs ignore them."""
    return [
        number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN
    ]


@contextmanager
def _handling(handler: _Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _heard()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
