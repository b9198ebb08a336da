"""No garbage collection visits what a model is made of while it serves, and a version that goes is freed."""

from __future__ import annotations

import gc
import shutil
import time
import weakref

import pytest
from api_worlds import api_world
from serving_worlds import client_of, make_model, product_id

from tastemaker.model.folder import save
from tastemaker.serving.models.gc_freeze import YOUNG, GarbageFreezer
from tastemaker.serving.models.registry import Change


@pytest.fixture
def no_other_collections():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_version_that_goes_is_freed_though_all_of_it_was_frozen(tmp_path, no_other_collections):
    world = api_world(tmp_path)
    settings = world.settings
    versions = settings.models / "recommender"
    with client_of(
        settings.models, catalogue=settings.catalogue, events=settings.events, poll_seconds=0.05
    ) as client:
        registry = client.app.state.service.registry
        for path in ("recommendations/users/u004?why=true", f"products/{product_id(3)}/similar", "products"):
            assert client.get(f"/api/v1/{path}").status_code == 200
        body = {"basket": [product_id(3)], "rules": {"deny": [product_id(9)]}}
        assert client.post("/api/v1/recommendations/basket", json=body).status_code == 200
        old = weakref.ref(registry.get("recommender"))
        ids = weakref.ref(old().user_ids)
        in_flight = [old()]
        in_flight.append(in_flight)  # a request whose parts refer to each other, when all is frozen
        gc.collect()
        gc.freeze()
        del in_flight
        save(make_model(2), versions / "2")
        shutil.rmtree(versions / "1")
        until = time.monotonic() + 20
        while (old() is not None or ids() is not None) and time.monotonic() < until:
            time.sleep(0.05)
        assert registry.get("recommender").version == 2
        assert old() is None
        assert ids() is None


def is_visited(value):
    """Return whether a full garbage collection would visit an object."""
    return any(found is value for found in gc.get_objects())


def test_no_collection_visits_the_models_that_serve(tmp_path, no_other_collections):
    settings = api_world(tmp_path).settings
    with client_of(settings.models, poll_seconds=60) as client:
        loaded = client.app.state.service.registry.get("recommender")
        assert not is_visited(loaded)
        assert not is_visited(loaded.manifest)
        assert not is_visited(loaded.user_ids)
    assert is_visited(loaded)


def test_what_is_loaded_is_frozen_once_the_models_change_and_thawed_at_the_end(no_other_collections):
    freezer = GarbageFreezer()
    first = [[]]
    freezer.look()
    assert not is_visited(first)
    later = [[]]
    freezer.look()
    assert is_visited(later)
    freezer.change(Change("labels", "recommender"))
    freezer.look()
    assert is_visited(later), "a label alone is not worth a collection"
    freezer.change(Change("loaded", "recommender", 2))
    freezer.look()
    assert not is_visited(later)
    freezer.close()
    assert is_visited(first)
    assert is_visited(later)


def test_what_became_garbage_while_it_was_frozen_is_freed_at_the_next_change(no_other_collections):
    class Version:
        pass

    freezer = GarbageFreezer()
    version = Version()
    version.itself = version
    gone = weakref.ref(version)
    freezer.look()
    del version
    freezer.change(Change("removed", "recommender", 1))
    freezer.look()
    assert gone() is None
    freezer.close()


def test_while_it_serves_a_collection_waits_for_more_young_objects_and_no_longer_after():
    before = gc.get_threshold()
    freezer = GarbageFreezer()
    assert gc.get_threshold() == (YOUNG, *before[1:])
    freezer.close()
    assert gc.get_threshold() == before
