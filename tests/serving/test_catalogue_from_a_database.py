"""The catalogue of a server may stand in a database: it is followed there, and the last one holds while it cannot be read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from api_worlds import ApiWorld, api_world, catalogue
from serving_worlds import Server, Start, product_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ApiWorld:
    return api_world(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A database with the catalogue in its table `products`."""
    frame, file = catalogue(), tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE products (product_id INTEGER, name TEXT, category TEXT, price REAL)")
        rows = frame.select("product_id", "name", "category", "price").rows()
        database.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", rows)
    return file


def do(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(statement)


def until(said: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not said():
        assert time.monotonic() < end
        time.sleep(0.1)


def price(server: Server) -> float:
    answer = server.client.get(f"/api/v1/products/{product_id(7)}")
    assert answer.status_code == 200, answer.text
    return answer.json()["products"][0]["about"]["price"]


def test_a_price_that_changes_in_the_database_changes_in_the_lists(
    world: ApiWorld, shop: Path, start: Start
) -> None:
    address = f"sqlite:///{shop}#products"
    server = start(
        world.settings.models, "--catalogue", address, "--catalogue-every", 0.2, "--workers", 2, "--quiet"
    )
    assert price(server) == 7.0
    ruled = "/api/v1/recommendations/users/u003?k=200&where=category:x"
    assert {one["product"] for one in server.client.get(ruled).json()["recommendations"]} <= {
        product_id(row) for row in range(0, 161, 2)
    }
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    copying = [command for command in commands if b"catalogue_copy" in command]
    assert len(copying) == 1  # for all workers
    assert b"sqlite" not in copying[0]
    do(shop, f"UPDATE products SET price = 70 WHERE product_id = {product_id(7)}")
    until(lambda: all(price(server) == 70.0 for _ in range(8)))
    do(shop, "ALTER TABLE products RENAME TO gone")
    until(lambda: "the catalogue cannot be read; what was read last holds" in server.log.read_text())
    assert price(server) == 70.0
    do(shop, "ALTER TABLE gone RENAME TO products")
    do(shop, f"UPDATE products SET price = 71 WHERE product_id = {product_id(7)}")
    until(lambda: price(server) == 71.0)


def test_a_catalogue_that_cannot_be_read_is_one_sentence_before_anything_is_served(
    world: ApiWorld, shop: Path, tmp_path: Path, tastemaker
) -> None:
    do(shop, "ALTER TABLE products RENAME TO gone")
    ran = tastemaker("serve", world.settings.models, "--port", 0, "--catalogue", f"sqlite:///{shop}#products")
    assert ran.returncode == 1
    assert ran.stdout == ""
    (line,) = ran.stderr.strip().splitlines()
    assert "the catalogue cannot be read: " in line
    assert "no such table" in line
    secret = "postgresql://shop:geheim@127.0.0.1:1/shop#products"
    ran = tastemaker("serve", world.settings.models, "--port", 0, "--catalogue", secret)
    assert ran.returncode == 1
    assert "does not answer" in ran.stderr
    assert "geheim" not in ran.stderr


def test_a_catalogue_that_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    from tastemaker.serving.catalogue_copy import _copy

    do(tmp_path / "odd.db", "CREATE TABLE products (product_id TEXT, price REAL)")
    do(tmp_path / "odd.db", "INSERT INTO products VALUES ('b', 2), ('a', 1)")
    file = tmp_path / "products.parquet"
    first = _copy(f"sqlite:///{tmp_path / 'odd.db'}#products", file, b"")
    mark = file.stat().st_mtime_ns
    assert _copy(f"sqlite:///{tmp_path / 'odd.db'}#products", file, first) == first
    assert file.stat().st_mtime_ns == mark  # nothing is loaded anew for what did not change
