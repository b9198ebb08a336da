"""`Engine`: the few threads of a worker that rank, so that the event loop never does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tastemaker.serving.problems import Refusal

__all__ = ["Engine"]

T = TypeVar("T")


class Engine:
    """Runs functions in threads; refuses (503) when too many wait."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rank")
        self._most = waiting
        self._held = 0

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in a ranking thread and return what it returns."""
        if self._held >= self._most:
            raise Refusal(
                503, "too many requests wait for an answer; try again.", headers={"Retry-After": "1"}
            )
        self._held += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*arguments))
        future.add_done_callback(self._done)
        return await future

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self, _: object) -> None:
        self._held -= 1
