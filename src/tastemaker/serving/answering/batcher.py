"""`Engine`: what ranks for the requests of a worker: the event loop itself where that is quick, else a few threads.

Requests that arrive together are ranked together: the kernel reads the products once for many queries. A query gets the same
list, to the bit, alone or in a batch. A batch waits for more requests only as long as each turn of the event loop brings
another one.

A ranking thread and the event loop pass Python's lock back and forth, which costs more than a short ranking takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np

from tastemaker.errors import ServerBusy
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.rank import VisitorList, VisitorLists, nearest, rank_visitors
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.ranking.visitors import Visitor, Visitors
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Floats, Rows

__all__ = ["Engine", "Ranked", "Ranking", "rank_alone"]

T = TypeVar("T")
Ranked: TypeAlias = tuple[Rows, Floats]
"""The product rows and the scores of neighbours, nearest first"""


class Ranking(NamedTuple):
    """How queries are ranked; one call can rank only queries with the same options.

    A tuple, since each request makes one and looks up those that wait for the same.
    """

    loaded: LoadedModel
    include_own: bool = False
    """Whether the query's own products may be listed: what was bought, what is in the basket, the product itself"""
    approximate: bool = False
    """Whether the version's index finds the lists"""
    book: RuleBook | None = None
    """The rules; ``None`` shows every product"""
    explain: bool = False
    """Whether each product comes with the reasons for its score"""

    @property
    def has_no_rules(self) -> bool:
        """Return whether lists are plain."""
        return self.book is None or self.book.is_empty

    @property
    def is_quick(self) -> bool:
        """Return whether lists are ranked as fast as plain ones, and shorter ones are the beginnings of longer ones."""
        book = self.book
        if self.explain:
            return False
        return book is None or not (book.caps or len(book.pinned) or book.leaves_few)

    def exactly(self) -> Ranking:
        """Return the same without an index."""
        return Ranking(self.loaded, self.include_own, book=self.book, explain=self.explain)


Group: TypeAlias = tuple[Ranking, Literal["visitor", "product"]]

AT_ONCE = 64
"""Most queries of one call of the kernel"""

BRIEF = 1 << 26
"""Most multiplications of a call for which the event loop stops: about two milliseconds"""


@dataclass(slots=True, eq=False)
class _Ask:
    """One request: its queries, and where its lists go."""

    queries: Sequence[Any]
    k: int
    answer: asyncio.Future[list[Any]]


class Engine:
    """Ranks, or runs any function, in threads; raises `ServerBusy` when too many requests wait.

    For use on the event loop that runs when it is made, which is not asked for again at each request: the answer takes a call of
    the system.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rank")
        self._free = threads
        self._most = waiting
        self._held = 0
        self._starting = False
        self._arrived = 0
        self._groups: dict[Group, list[_Ask]] = {}

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in a ranking thread and return what it returns."""
        self._admit()
        try:
            return await self._loop.run_in_executor(self._pool, lambda: function(*arguments))
        finally:
            self._held -= 1

    def rank(self, how: Ranking, visitors: Sequence[Visitor], k: int) -> Awaitable[list[VisitorList]]:
        """Return the k best products of each visitor; ``how`` is quick."""
        return self._ask((how, "visitor"), visitors, k)

    async def nearest(self, how: Ranking, products: Sequence[int], k: int) -> list[Ranked]:
        """Return the k products nearest, by dot product, to each product at these rows; rules hold for other lists."""
        table = None if how.approximate else how.loaded.neighbours
        if table is not None:
            known = [table.of(product, k, include_self=how.include_own) for product in products]
            if all(found is not None for found in known):
                return cast("list[Ranked]", known)
        found: list[Ranked] = await self._ask((how, "product"), products, k)
        return found

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _admit(self) -> None:
        if self._held >= self._most:
            raise ServerBusy("too many requests wait for an answer; try again.")
        self._held += 1

    async def _ask(self, group: Group, queries: Sequence[Any], k: int) -> list[Any]:
        self._admit()
        try:
            ask = _Ask(queries, k, self._loop.create_future())
            self._groups.setdefault(group, []).append(ask)
            self._arrived += 1
            self._start_soon()
            return await ask.answer
        finally:
            self._held -= 1

    def _start_soon(self) -> None:
        """Start when the event loop has handled what is ready now, so that requests that came together are ranked together."""
        if self._groups and not self._starting:
            self._starting = True
            self._loop.call_soon(self._start_unless_more, 0)

    def _start_unless_more(self, before: int) -> None:
        """Start now, or one turn later if the last turn brought requests: more may arrive while those are read."""
        if before < self._arrived < AT_ONCE:
            self._loop.call_soon(self._start_unless_more, self._arrived)
        else:
            self._arrived = 0
            self._start_all()

    def _start_all(self) -> None:
        """Rank one short call here and the next after a turn of the event loop; give longer ones to free threads."""
        self._starting = False
        for group, asked in list(self._groups.items()):
            # the caller may have given up
            waiting = self._groups[group] = [ask for ask in asked if not ask.answer.done()]
            if not waiting:
                del self._groups[group]
                continue
            candidates = group[0].loaded.candidates
            brief = min(BRIEF // max(candidates.count * candidates.dimensions, 1), AT_ONCE)
            if len(waiting[0].queries) <= brief:
                self._rank_here(group, self._take(group, brief))
                return
            if self._free:
                self._rank_aside(group, self._take(group, AT_ONCE))

    def _take(self, group: Group, most: int) -> list[_Ask]:
        """Take the requests of a group that wait longest: at most this many queries, but at least one request.

        An index finds different lists in different batches, so it gets one request at a time.
        """
        waiting = self._groups.pop(group)
        asks: list[_Ask] = []
        count = 0
        most = 0 if group[0].approximate else most
        while waiting and (not asks or count + len(waiting[0].queries) <= most):
            ask = waiting.pop(0)
            asks.append(ask)
            count += len(ask.queries)
        if waiting:
            self._groups[group] = waiting
        return asks

    def _rank_here(self, group: Group, asks: list[_Ask]) -> None:
        found: list[list[Any]] | Exception
        try:
            found = _rank(group, asks)
        except Exception as error:
            found = error
        self._finish(asks, found)

    def _rank_aside(self, group: Group, asks: list[_Ask]) -> None:
        future = self._pool.submit(_rank, group, asks)
        self._free -= 1
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._finish_aside, asks, done))
        self._start_soon()

    def _finish_aside(self, asks: list[_Ask], done: Future[list[list[Any]]]) -> None:
        self._free += 1
        error = done.exception()
        self._finish(asks, done.result() if error is None else error)

    def _finish(self, asks: list[_Ask], found: list[list[Any]] | BaseException) -> None:
        for number, ask in enumerate(asks):
            if ask.answer.done():
                continue
            if isinstance(found, BaseException):
                ask.answer.set_exception(found)
            else:
                ask.answer.set_result(found[number])
        self._start_soon()


def rank_alone(how: Ranking, visitors: Sequence[Visitor], k: int) -> list[VisitorList]:
    """Return the lists of the visitors of one request, ranked alone."""
    return list(_visitor_lists(how, visitors, k).each([k] * len(visitors)))


def _rank(group: Group, asks: list[_Ask]) -> list[list[Any]]:
    """Rank the queries of several requests in one call; a shorter list is the beginning of a longer one."""
    how, kind = group
    queries = [query for ask in asks for query in ask.queries]
    lengths = [ask.k for ask in asks for _ in ask.queries]
    found: Iterable[Any]
    if kind == "visitor":
        found = _visitor_lists(how, queries, max(lengths, default=1)).each(lengths)
    else:
        neighbours = _neighbours(how, queries, max(lengths, default=1))
        found = [(rows[:k], scores[:k]) for k, (rows, scores) in zip(lengths, neighbours, strict=True)]
    lists = iter(found)
    return [list(islice(lists, len(ask.queries))) for ask in asks]


def _visitor_lists(how: Ranking, visitors: Sequence[Visitor], k: int) -> VisitorLists:
    loaded = how.loaded
    return rank_visitors(
        loaded.packed_with_index if how.approximate else loaded.packed, Visitors.of(visitors), how.book,
        k=k, include_purchased=how.include_own, explain=how.explain, threads=1,
    )  # fmt: skip


def _neighbours(how: Ranking, products: Sequence[int], k: int) -> RankedLists:
    space = how.loaded.index_by_dot if how.approximate else how.loaded.by_dot
    return nearest(space, np.array(products, np.int32), k=k, include_self=how.include_own, threads=1)
