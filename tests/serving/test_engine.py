"""The engine ranks the same lists on the event loop and in threads, alone and in company."""

from __future__ import annotations

import asyncio
import threading

import pytest
from serving_worlds import make_model

from tastemaker.model.folder import save
from tastemaker.ranking.rank import rank_users
from tastemaker.ranking.visitors import Visitor
from tastemaker.serving.answering import batcher as engine_module
from tastemaker.serving.answering.batcher import Engine, Ranking
from tastemaker.serving.models.loaded_model import LoadedModel, load_version

LOOP, THREADS = 1 << 26, 0
"""The most multiplications of a call on the event loop, so that all or none are made there"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("engine") / "1"
    save(make_model(5), folder)
    return load_version("recommender", 1, folder)


def visitors(loaded: LoadedModel, users: list[int]) -> list[Visitor]:
    """The users at these rows, with what they bought."""
    return [Visitor(user, *loaded.bought(user)) for user in users]


async def ranked(engine: Engine, loaded: LoadedModel, users: list[int], k: int) -> list[tuple]:
    lists = await engine.rank(Ranking(loaded), visitors(loaded, users), k)
    return [(found.rows, found.scores) for found in lists]


def ranked_by(loaded: LoadedModel, asks: list[tuple[list[int], int]], *, threads: int = 2) -> list:
    """The answers to requests that come at once."""

    async def ask() -> list:
        engine = Engine(threads, 512)
        try:
            return await asyncio.gather(*[ranked(engine, loaded, users, k) for users, k in asks])
        finally:
            engine.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("brief", [LOOP, THREADS])
def test_each_of_many_requests_gets_the_lists_of_its_own_users(loaded, monkeypatch, brief):
    monkeypatch.setattr(engine_module, "BRIEF", brief)
    asks = [([number % 30, (7 * number + 1) % 30], 3 + number % 5) for number in range(150)]
    for (users, k), lists in zip(asks, ranked_by(loaded, asks), strict=True):
        expected = rank_users(loaded.model, users, loaded.candidates, k=k, threads=1)
        assert [rows.tolist() for rows, _ in lists] == [expected[n][0].tolist() for n in range(2)]
        assert [scores.tolist() for _, scores in lists] == [expected[n][1].tolist() for n in range(2)]


def where_ranked(loaded: LoadedModel, users: list[int], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    names: set[str] = set()
    rank = engine_module._rank

    def watched(*arguments: object) -> object:
        names.add(threading.current_thread().name)
        return rank(*arguments)

    monkeypatch.setattr(engine_module, "_rank", watched)
    ranked_by(loaded, [(users, 3)])
    return {name.partition("_")[0] for name in names}


def test_a_brief_ranking_is_made_on_the_event_loop(loaded, monkeypatch):
    assert where_ranked(loaded, [1, 2], monkeypatch) == {"MainThread"}


def test_a_request_with_too_many_queries_for_the_event_loop_is_ranked_in_a_thread(loaded, monkeypatch):
    monkeypatch.setattr(engine_module, "BRIEF", 160 * 8 * 4)
    assert where_ranked(loaded, [1, 2, 3, 4, 5], monkeypatch) == {"rank"}
    assert where_ranked(loaded, [1, 2, 3, 4], monkeypatch) >= {"MainThread"}


@pytest.mark.parametrize("brief", [LOOP, THREADS])
def test_what_fails_fails_for_those_who_asked_and_for_nobody_after_them(loaded, monkeypatch, brief):
    monkeypatch.setattr(engine_module, "BRIEF", brief)

    async def ask() -> list:
        engine = Engine(1, 512)
        try:
            failed = await asyncio.gather(
                engine.nearest(Ranking(loaded), [10_000], 3), return_exceptions=True
            )
            return [*failed, await ranked(engine, loaded, [1], 3)]
        finally:
            engine.close()

    failed, answered = asyncio.run(ask())
    assert isinstance(failed, IndexError)
    assert len(answered[0][0]) == 3


def ranked_beside_one_that_gave_up(
    loaded: LoadedModel, users: list[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[list, list[int], list[str]]:
    """The lists of a request whose neighbour gave up, all queries that were ranked, and the threads that ranked them."""
    queries: list[int] = []
    threads: list[str] = []
    rank = engine_module._rank

    def watched(group, asks):
        queries.extend(visitor.user for ask in asks for visitor in ask.queries)
        threads.append(threading.current_thread().name.partition("_")[0])
        return rank(group, asks)

    monkeypatch.setattr(engine_module, "_rank", watched)

    async def ask() -> list:
        engine = Engine(1, 512)
        try:
            gone = asyncio.create_task(ranked(engine, loaded, [1], 3))
            stays = asyncio.create_task(ranked(engine, loaded, users, 3))
            asyncio.get_running_loop().call_soon(gone.cancel)
            return await stays
        finally:
            engine.close()

    return asyncio.run(ask()), queries, threads


@pytest.mark.parametrize("brief", [LOOP, THREADS])
def test_whoever_gave_up_is_not_ranked_for(loaded, monkeypatch, brief):
    monkeypatch.setattr(engine_module, "BRIEF", brief)
    lists, queries, _ = ranked_beside_one_that_gave_up(loaded, [2], monkeypatch)
    assert len(lists[0][0]) == 3
    assert queries == [2]


def test_a_long_request_behind_one_that_was_given_up_is_ranked_in_a_thread(loaded, monkeypatch):
    monkeypatch.setattr(engine_module, "BRIEF", 160 * 8 * 4)
    lists, _, threads = ranked_beside_one_that_gave_up(loaded, list(range(20)), monkeypatch)
    assert len(lists) == 20
    assert threads == ["rank"]
