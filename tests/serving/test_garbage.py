"""What a server holds for long is out of the collections of garbage, and goes by its references when its version goes."""

from __future__ import annotations

import gc
import shutil
import time
import weakref

import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model, product_id

from tastemaker.model.folder import save
from tastemaker.serving.models.gc_freeze import Garbage
from tastemaker.serving.models.registry import Change


@pytest.fixture
def no_other_collections():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_version_that_goes_is_freed_at_the_change_though_all_of_it_was_set_aside(
    tmp_path, no_other_collections
):
    world = api_world(tmp_path)
    settings = world.settings
    versions = settings.models / "recommender"
    with client_of(
        settings.models, catalogue=settings.catalogue, events=settings.events, poll_seconds=0.05
    ) as client:
        shelf = client.app.state.shelf
        for path in ("recommendations/users/u004?why=true", f"products/{product_id(3)}/similar", "products"):
            assert client.get(f"/api/v1/{path}").status_code == 200
        body = {"basket": [product_id(3)], "rules": {"deny": [product_id(9)]}}
        assert client.post("/api/v1/recommendations/basket", json=body).status_code == 200
        old = weakref.ref(shelf.get("recommender"))
        ids = weakref.ref(old().user_ids)
        in_flight = [old()]
        in_flight.append(
            in_flight
        )  # a request whose parts name each other, as some do, when all is set aside
        gc.collect()
        gc.freeze()
        del in_flight
        save(make_model(2), versions / "2")
        shutil.rmtree(versions / "1")
        until = time.monotonic() + 20
        while (old() is not None or ids() is not None) and time.monotonic() < until:
            time.sleep(0.05)
        assert shelf.get("recommender").version == 2
        assert old() is None
        assert ids() is None


def test_what_was_loaded_is_set_aside_once_and_given_back_at_the_end():
    before = gc.get_freeze_count()
    garbage = Garbage()
    garbage.look()
    first = gc.get_freeze_count()
    assert first > before
    kept = [[] for _ in range(1000)]
    garbage.change(Change("labels", "recommender"))
    garbage.look()
    assert gc.get_freeze_count() <= first  # labels are not worth a collection
    garbage.change(Change("loaded", "recommender", 2))
    garbage.look()
    assert gc.get_freeze_count() >= first + len(kept) - 500
    garbage.close()
    assert gc.get_freeze_count() == 0
