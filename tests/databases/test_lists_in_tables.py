"""Lists in a table of a database: whole or not at all, beside readers, and never in place of something else."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import polars as pl
import pytest
from database_servers import PASSWORD, SPELLED

from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.tables import write_table
from tastemaker.errors import DatabaseProblem

LISTS = pl.DataFrame(
    {"user_id": ["a", "a", "b"], "product_id": [7, 9, 7], "rank": [1, 2, 1], "score": [0.5, 0.25, 0.75]},
    schema={"user_id": pl.String, "product_id": pl.Int64, "rank": pl.UInt32, "score": pl.Float32},
)


def asked(uri: str, query: str) -> list[tuple]:
    kind = uri.split(":")[0]
    if kind == "postgresql":
        import adbc_driver_postgresql.dbapi as driver

        with driver.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            found = cursor.fetchall() if cursor.description else []
            connection.commit()
            return found
    if kind == "sqlite":
        with closing(sqlite3.connect(address_of(uri).file)) as connection:
            found = connection.execute(query).fetchall()
            connection.commit()
            return found
    import duckdb

    with closing(duckdb.connect(str(address_of(uri).file))) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def database(request, tmp_path):
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgresql")
        asked(uri, "DROP TABLE IF EXISTS lists")
        return uri
    return f"{request.param}:///{tmp_path / 'lists.db'}"


def to(uri: str, *frames: pl.DataFrame) -> int:
    return write_table(address_of(f"{uri}#lists"), iter(frames))


def test_blocks_of_lists_are_one_table(database):
    assert to(database, LISTS, LISTS.with_columns(user_id=pl.lit("c"))) == 6
    found = asked(database, "SELECT user_id, product_id, rank, score FROM lists ORDER BY user_id, rank")
    assert found[:3] == [("a", 7, 1, 0.5), ("a", 9, 2, 0.25), ("b", 7, 1, 0.75)]
    assert len(found) == 6


def test_newer_lists_take_the_place_of_older_ones(database):
    to(database, LISTS)
    assert to(database, LISTS.head(1)) == 1
    assert asked(database, "SELECT user_id FROM lists") == [("a",)]


def test_ids_that_were_numbers_and_are_text_now_take_their_place(database):
    to(database, LISTS)
    to(database, LISTS.with_columns(product_id=pl.Series(["7", "guest-9", "7"])))
    assert asked(database, "SELECT product_id FROM lists ORDER BY product_id") == [
        ("7",),
        ("7",),
        ("guest-9",),
    ]


def test_what_fails_half_way_leaves_the_old_lists(database):
    to(database, LISTS)

    def frames():
        yield LISTS.head(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(address_of(f"{database}#lists"), frames())
    assert len(asked(database, "SELECT * FROM lists")) == 3


def test_a_staging_table_of_a_killed_run_is_in_nobodys_way(database):
    to(database, LISTS)
    asked(database, "CREATE TABLE lists__staging (other INTEGER)")
    assert to(database, LISTS.head(2)) == 2
    assert len(asked(database, "SELECT * FROM lists")) == 2


def test_a_table_of_something_else_is_not_replaced(database):
    to(database, LISTS)
    asked(database, "DROP TABLE lists")
    asked(database, "CREATE TABLE lists (customer INTEGER, address VARCHAR(20))")
    with pytest.raises(DatabaseProblem, match=r"has the columns customer, address.*it is not replaced"):
        to(database, LISTS)
    assert asked(database, "SELECT * FROM lists") == []


def test_indexes_and_privileges_of_a_table_in_postgresql_stay(postgresql):
    asked(postgresql, "DROP TABLE IF EXISTS lists")
    to(postgresql, LISTS)
    asked(postgresql, "DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    asked(postgresql, "GRANT SELECT ON lists TO reader")
    asked(postgresql, "CREATE INDEX by_product ON lists (product_id)")
    to(postgresql, LISTS, LISTS)
    indexed = asked(postgresql, "SELECT indexdef FROM pg_indexes WHERE tablename = 'lists' ORDER BY 1")
    assert [line.split("(")[1] for (line,) in indexed] == ["product_id)", "user_id)"]
    assert asked(postgresql, "SELECT has_table_privilege('reader', 'lists', 'SELECT')") == [(True,)]
    assert asked(postgresql, "SELECT count(*) FROM lists") == [(6,)]


def test_a_reader_sees_the_old_lists_until_the_new_ones_are_whole(postgresql):
    asked(postgresql, "DROP TABLE IF EXISTS lists")
    to(postgresql, LISTS)
    seen = []

    def frames():
        yield LISTS.head(1)
        seen.append(asked(postgresql, "SELECT count(*) FROM lists")[0][0])
        yield LISTS.head(1)

    write_table(address_of(f"{postgresql}#lists"), frames())
    assert (seen, asked(postgresql, "SELECT count(*) FROM lists")) == ([3], [(2,)])


def test_a_table_in_a_schema_is_found_and_replaced(postgresql):
    asked(postgresql, "CREATE SCHEMA IF NOT EXISTS shop")
    for lists in (LISTS, LISTS.head(1)):
        write_table(address_of(f"{postgresql}#shop.lists"), iter([lists]))
    assert asked(postgresql, "SELECT user_id FROM shop.lists") == [("a",)]


def test_the_commands_write_lists_to_a_database(postgresql, tastemaker, model_folder):
    asked(postgresql, "DROP TABLE IF EXISTS near")
    ran = tastemaker(
        "similar", model_folder, "--all-products", "--k", 3, "--out", f"{postgresql}#near", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)["rows"]
    assert asked(postgresql, "SELECT count(*) FROM near") == [(rows,)]
    ran = tastemaker("recommend", model_folder, "--all-users", "--k", 3, "--out", f"{postgresql}/near")
    assert ran.returncode == 1
    assert "it is not replaced" in ran.stderr
    assert PASSWORD not in ran.stderr
    assert SPELLED not in ran.stderr
    ran = tastemaker("recommend", model_folder, "--all-users", "--out", postgresql)
    assert (ran.returncode, "names no table to write" in ran.stderr) == (1, True)


# Vectors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [False, True])
def test_vectors_are_written_as_the_database_can_hold_them_and_rank_there_as_here(postgresql, extension):
    import adbc_driver_postgresql.dbapi as driver

    import tastemaker as tm
    from tastemaker.ranking.export.vectors import to_pgvector

    nothing = {f"memory.{name}_weight": 0.0 for name in ("count", "ridge", "spectral", "directed")}
    settings = {"taste.dimensions": 4, "taste.epochs": 1, **nothing}
    log = tm.make_shop(users=60, products=30, purchases=600, seed=5).purchases
    model = tm.train(log, tm.preset("default", effort="quick").changed(settings), progress=False)
    with driver.connect(postgresql) as connection, connection.cursor() as cursor:
        if extension:
            try:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except driver.Error:
                pytest.skip("no pgvector on this machine: apt-get install postgresql-15-pgvector")
            connection.commit()
        table = f"vectors_{extension}".lower()
        for _ in range(2):  # the second takes the place of the first
            found = to_pgvector(model, address_of(f"{postgresql}#{table}"))
        assert found == {"products": len(model.products), "users": len(model.users)}
        cursor.execute(
            "SELECT udt_name FROM information_schema.columns WHERE table_name = $1 AND column_name = 'vector'",
            (f"{table}_products",),
        )
        assert cursor.fetchall() == [("vector" if extension else "_float4",)]
        if extension:
            cursor.execute(
                f"SELECT p.product_id FROM {table}_products p, {table}_users u WHERE u.user_id = $1 "
                "ORDER BY p.vector <#> u.vector LIMIT 10",
                (model.users.ids[3],),
            )
            ours = tm.recommend(model, [model.users.ids[3]], k=10, include_purchased=True).of(0)
            assert [row[0] for row in cursor.fetchall()] == [product for product, _ in ours]
