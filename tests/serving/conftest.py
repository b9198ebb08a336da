"""Fixtures of the service's tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_worlds import Start, client_of, make_model, serving
from starlette.testclient import TestClient

from tastemaker.model.folder import save


@pytest.fixture(scope="session")
def shelf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models ``recommender`` (versions 1 and 3, integer ids) and ``texts`` (version 2, ids of text)."""
    models = tmp_path_factory.mktemp("shelf")
    save(make_model(1), models / "recommender" / "1")
    save(make_model(3), models / "recommender" / "3")
    save(make_model(2, text=True), models / "texts" / "2")
    (models / "recommender" / "labels.json").write_text('{"labels": {"canary": 1}, "history": []}')
    return models


@pytest.fixture(scope="session")
def client(shelf_folder: Path) -> Iterator[TestClient]:
    with client_of(shelf_folder) as client:
        yield client


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers: ``start(models, "--workers", 2)``."""
    with contextlib.ExitStack() as stack:
        numbers = iter(range(100))
        yield lambda models, *options: stack.enter_context(
            serving(models, tmp_path / f"serve-{next(numbers)}.log", *options)
        )
