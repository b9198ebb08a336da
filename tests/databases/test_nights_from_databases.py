"""A night whose database misbehaves: one sentence, exit code 1, no password anywhere, and the older version serves on."""

from __future__ import annotations

import json
import shutil
import socket

import adbc_driver_postgresql.dbapi as driver
import polars as pl
import pytest
from database_servers import PASSWORD, SPELLED

import tastemaker as tm
from tastemaker.data.databases.address import address_of
from tastemaker.data.databases.tables import write_table
from tastemaker.serving.models.labels import read_labels

SETTINGS = """[replay]
fewest_questions = 5
[learn]
effort = "quick"
settings = { dimensions = 4, epochs = 1, "memory.count_weight" = 1.0 }
"""


@pytest.fixture(scope="module")
def first_night(postgresql, tmp_path_factory):
    """A shop with a version in service, made from PostgreSQL."""
    folder = tmp_path_factory.mktemp("shop")
    log = tm.make_shop(users=150, products=40, purchases=2_000, seed=4).purchases.to_frame()
    write_table(address_of(f"{postgresql}#orders"), iter([log.drop("quantity", strict=False)]))
    describe(folder, postgresql, "orders")
    from tastemaker.nights.run import run_night
    from tastemaker.nights.shop_file import read_shop_file

    assert run_night(read_shop_file(folder / "shop.toml")).outcome == "published"
    return folder


def describe(folder, uri, table, more=""):
    source = f'from = "{uri}"\ntable = "{table}"\n' if table else f'from = "{uri}"\n'
    (folder / "shop.toml").write_text(f"[log]\n{source}{more}{SETTINGS}")


@pytest.fixture
def night(first_night, tmp_path, tastemaker):
    """Run a night that must fail, from another source; return what it said, in whose every file no password stands."""
    folder = tmp_path / "shop"
    shutil.copytree(first_night, folder)

    def failed(uri, table, more=""):
        describe(folder, uri, table, more)
        ran = tastemaker("run", folder / "shop.toml")
        assert ran.returncode == 1, ran.stdout + ran.stderr
        said = ran.stderr.strip().splitlines()
        assert "Traceback" not in ran.stderr
        line = json.loads((folder / "shop.nights" / "history.jsonl").read_text().splitlines()[-1])
        assert line["outcome"] == "failed"
        kept = b"".join(path.read_bytes() for path in (folder / "shop.nights").rglob("*") if path.is_file())
        for secret in (PASSWORD, SPELLED):
            assert secret not in ran.stderr
            assert secret.encode() not in kept
        assert read_labels(folder / "models" / "recommender").versions == {"stable": 1}
        assert not (folder / "models" / "recommender" / "2").exists()
        return said[-1]

    return failed


def run_sql(uri, *statements):
    with driver.connect(uri) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def test_a_database_that_is_away(postgresql, night):
    away = postgresql.replace(postgresql.rpartition(":")[2], "1/postgres")
    assert "does not answer; start it, or mend host and port" in night(away, "orders")


def test_a_database_that_accepts_and_then_says_nothing(postgresql, night):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address, _, end = postgresql.rpartition(":")
        name = end.partition("/")[2]
        hung = f"{address}:{silent.getsockname()[1]}/{name}?connect_timeout=2"
        assert "does not answer in time; see whether it runs" in night(hung, "orders")


def test_a_slow_database_is_waited_for_as_long_as_its_address_says(postgresql, night):
    impatient = f"{postgresql}?options=-c%20statement_timeout%3D500"
    slow = 'query = "SELECT user_id, product_id, time, pg_sleep(60)::text AS late FROM orders"\n'
    assert "took longer for the query than it may" in night(impatient, "", slow)


def test_a_wrong_password(postgresql, night):
    said = night(postgresql.replace(SPELLED, "not-this-one"), "orders")
    assert "refuses this user or password" in said
    assert "not-this-one" not in said


def test_a_table_that_lost_a_column(postgresql, night):
    run_sql(postgresql, "CREATE TABLE lost AS SELECT product_id, time FROM orders")
    assert "user" in night(postgresql, "lost")
    run_sql(postgresql, "CREATE TABLE undated AS SELECT user_id, product_id FROM orders")
    assert "has no dates; a night needs them" in night(postgresql, "undated")


def test_a_table_that_is_gone_and_a_query_that_returns_nothing(postgresql, night):
    assert "nowhere" in night(postgresql, "nowhere")
    nothing = 'query = "SELECT user_id, product_id, time FROM orders WHERE false"\n'
    assert "returns no row; there is nothing to read" in night(postgresql, "", nothing)


def test_a_database_that_drops_the_connection_half_way(postgresql, night):
    query = (
        "SELECT user_id, product_id, time FROM orders UNION ALL SELECT user_id, product_id, "
        "time + make_interval(secs => pg_terminate_backend(pg_backend_pid())::int) FROM orders"
    )
    assert "ended the connection half-way; nothing was kept" in night(postgresql, "", f'query = "{query}"\n')


def test_a_staging_table_of_a_killed_run_is_in_nobodys_way(postgresql, first_night, tmp_path, tastemaker):
    folder = tmp_path / "shop"
    shutil.copytree(first_night, folder)
    later = "SELECT user_id, product_id, time + interval '1 hour' FROM orders ORDER BY time DESC LIMIT 60"
    run_sql(
        postgresql,
        "CREATE TABLE lists__staging (something text)",
        "INSERT INTO lists__staging VALUES ('half')",
        "CREATE TABLE more AS SELECT * FROM orders",
        f"INSERT INTO more {later}",
    )
    lists = f'[lists]\nusers = "{postgresql}#lists"\nvectors = "{postgresql}#taste"\nk = 3\n'
    describe(folder, postgresql, "more", lists)
    ran = tastemaker("run", folder / "shop.toml", "--json")
    assert ran.returncode == 0, ran.stderr
    with driver.connect(postgresql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT user_id, product_id, rank, score FROM lists")
        found = pl.DataFrame(cursor.fetch_arrow_table())
        cursor.execute("SELECT to_regclass('lists__staging')::text")
        assert cursor.fetchall() == [(None,)]
        cursor.execute("SELECT (SELECT count(*) FROM taste_users), (SELECT count(*) FROM taste_products)")
        vectors = cursor.fetchall()[0]
    wrote = json.loads(ran.stdout)["lists"]
    assert len(found) == wrote["users"] > 0
    assert vectors == (wrote["vectors of users"], wrote["vectors of products"])
    for secret in (PASSWORD, SPELLED):
        assert secret not in ran.stdout + ran.stderr


def test_lists_that_found_no_database_are_written_by_the_next_run_and_no_second_version_is_made(
    postgresql, first_night, tmp_path, tastemaker
):
    folder = tmp_path / "shop"
    shutil.copytree(first_night, folder)
    run_sql(
        postgresql,
        "CREATE TABLE evening AS SELECT * FROM orders",
        "INSERT INTO evening SELECT user_id, product_id, time + interval '2 hours' FROM orders ORDER BY time DESC LIMIT 60",
    )
    away = postgresql.replace(postgresql.rpartition(":")[2], "1/postgres")
    for where, code, outcome in ((away, 1, "failed"), (postgresql, 0, "published")):
        describe(folder, postgresql, "evening", f'[lists]\nusers = "{where}#evening_lists"\nk = 3\n')
        ran = tastemaker("run", folder / "shop.toml")
        assert ran.returncode == code, ran.stderr
        line = json.loads((folder / "shop.nights" / "history.jsonl").read_text().splitlines()[-1])
        assert line["outcome"] == outcome
        assert {one.name for one in (folder / "models" / "recommender").glob("[0-9]*")} == {"1", "2"}
        for secret in (PASSWORD, SPELLED):
            assert secret not in ran.stderr
    assert line["version"] == 2
    assert line["lists"]["users"] > 0


def test_vectors_go_to_a_folder_or_to_postgresql_alone(first_night, tmp_path, tastemaker):
    folder = tmp_path / "shop"
    shutil.copytree(first_night, folder)
    describe(folder, "log.parquet", "", '[lists]\nvectors = "sqlite:///vectors.db#v"\n')
    ran = tastemaker("run", folder / "shop.toml")
    assert (ran.returncode, "a database that is no PostgreSQL; name a folder" in ran.stderr) == (1, True)
