"""A night from the sources to the version in service: what publishes, what stops, and that no death harms."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta

import polars as pl
import pytest
from night_worlds import SETTINGS, START, killed_at, killed_in_training, make_world

from tastemaker.errors import DataError, ModelFolderProblem, SettingProblem
from tastemaker.model.folder import load
from tastemaker.nights.history import history_of
from tastemaker.nights.shop_file import read_shop_file
from tastemaker.storage import locked

STEPS = ("read", "bounds", "replay", "publish", "promote", "watch", "lists", "remove", "history")


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path / "shop")


@pytest.fixture(scope="module")
def first_night(tmp_path_factory):
    """A shop after its first night; copy it before you change it."""
    world = make_world(tmp_path_factory.mktemp("nights") / "shop")
    world.sell(0)
    assert world.night().outcome == "published"
    return world


@pytest.fixture
def later(first_night, tmp_path):
    """The shop after its first night, in a folder of its own."""
    shutil.copytree(first_night.folder, tmp_path / "shop")
    return type(first_night)(tmp_path / "shop", first_night.sales)


def test_the_first_night_publishes_a_version_and_puts_it_in_service(first_night):
    assert first_night.stable() == 1
    run = history_of(read_shop_file(first_night.file))[0]
    assert (run["outcome"], run["version"], run["figures"]["purchases"]) == (
        "published",
        1,
        len(first_night.until(0)),
    )
    assert run["replay"]["service"] is None
    assert run["replay"]["new"] > 0


def test_the_version_is_the_one_that_train_would_make_of_the_log_in_the_order_of_time(first_night):
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.nights.steps import config_of
    from tastemaker.training.train import train

    log = first_night.until(0).sort("time", "user_id", "product_id")
    model = train(read_purchases(log), config_of(read_shop_file(first_night.file)), progress=False)
    mine = load(first_night.models / "1")
    assert mine.record.data_fingerprint == model.record.data_fingerprint
    assert (mine.product_vectors == model.product_vectors).all()


def test_the_same_inputs_make_no_second_version(later):
    run = later.night()
    assert (run.outcome, run.version) == ("nothing new", 1)
    assert not (later.models / "2").exists()


def test_the_order_in_which_a_source_returns_rows_changes_nothing(later):
    later.sell(0, later.until(0).sample(fraction=1.0, shuffle=True, seed=9))
    assert later.night().outcome == "nothing new"


def test_a_night_is_tested_on_what_was_bought_since_by_a_service_that_did_not_know_it(later):
    later.sell(2)
    run = later.night()
    new = later.until(2).filter(pl.col("time") >= START)
    assert run.outcome == "published"
    assert 0 < run.replay["questions"] <= len(new)
    assert run.replay["new"] == run.replay["service"]  # neither settings nor past have changed
    assert later.stable() == 2


def test_worse_settings_stop_a_night_with_the_older_version_in_service(later):
    later.sell(20)
    bad = 'effort = "quick"\nsettings = { dimensions = 1, epochs = 1, "memory.count_weight" = 0.0, learning_rate = 0.0001 }\n'
    later.describe(learn=bad)
    run = later.night()
    assert (run.outcome, run.stopped) == ("worse", True)
    assert "is worse than version 1" in run.why[0]
    assert later.stable() == 1
    assert not (later.models / "2").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda log: log.head(len(log) // 2), "fewer than 98% of them (fewest_rows)"),
        (lambda log: pl.concat([log, log, log]), "more than 2 times as many (most_rows)"),
        (lambda log: log.filter(pl.col("product_id") % 3 > 0), "products, and the last run had"),
        (lambda log: log.with_columns(user_id=pl.when(pl.int_range(pl.len()) % 5 > 0).then("user_id")), "cannot be used"),
        (lambda log: log.with_columns(product_id="p" + pl.col("product_id").cast(pl.String)), "ids of products are text now"),
        (lambda log: log.with_columns(time=pl.col("time") - pl.duration(days=9)), "older than that of the last run"),
        (lambda log: log.with_columns(time=pl.col("time") + pl.duration(days=900)), "days in the future"),
    ],
)  # fmt: skip
def test_a_log_beyond_the_bounds_stops_before_anything_is_learned(later, change, says):
    later.sell(1, change(later.until(1)))
    told = []
    run = later.night(say=told.append)
    assert run.outcome == "out of bounds"
    assert any(says in sentence for sentence in run.why), run.why
    assert not any("Learning" in line for line in told)
    assert later.stable() == 1


def test_new_purchases_of_unknown_products_stop_a_night(later):
    known = later.until(0)
    strange = (
        later.until(3).filter(pl.col("time") >= START).with_columns(product_id=pl.col("product_id") + 10_000)
    )
    later.sell(3, pl.concat([known, strange]))
    run = later.night()
    assert run.outcome == "out of bounds"
    assert "100% of the purchases since the last run are of products that it did not know" in " ".join(
        run.why
    )


def test_an_accepted_log_passes_once_and_is_the_next_measure(later):
    later.sell(1, later.until(1).head(3000))
    assert later.night().outcome == "out of bounds"
    assert later.night(accept=True).outcome == "published"
    assert later.night().outcome == "nothing new"


def test_scrambled_purchases_stop_a_night(later):
    for day in (2, 4, 6):
        later.sell(day)
        assert later.night().outcome == "published"
    before, tonight = later.until(6), later.until(10).filter(pl.col("time") >= START + timedelta(days=6))
    by_sales = before["product_id"].value_counts().sort("count", "product_id")["product_id"]
    rare = {old: by_sales[n % 20] for n, old in enumerate(sorted(set(before["product_id"])))}
    later.sell(10, pl.concat([before, tonight.with_columns(pl.col("product_id").replace(rare))]))
    run = later.night()
    assert run.outcome == "out of bounds"
    assert "users or products may be scrambled" in run.why[0]
    assert later.stable() == 4


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_harms_nothing_and_the_next_one_finishes(later, first_night, step, whole):
    later.describe('[lists]\nusers = "lists.parquet"\nk = 3\n')
    later.sell(1)
    killed_at(later.file, step)
    assert later.stable() in (1, 2)
    load(later.models / str(later.stable()))
    run = later.night()
    assert (run.outcome, run.version, later.stable()) == ("published", 2, 2)
    assert not (later.models / "3").exists()
    assert later.checksums(2) == whole
    assert len(pl.read_parquet(later.folder / "lists.parquet")) > 0
    assert [one["outcome"] for one in history_of(read_shop_file(later.file))] == ["published", "published"]
    assert not list(later.models.glob(".*writing*"))


@pytest.fixture(scope="module")
def whole(first_night, tmp_path_factory):
    """The checksums of the second night's version, made without a death."""
    folder = tmp_path_factory.mktemp("whole") / "shop"
    shutil.copytree(first_night.folder, folder)
    world = type(first_night)(folder, first_night.sales)
    world.sell(1)
    world.night()
    return world.checksums(2)


LONGER = SETTINGS.replace("epochs = 2", "epochs = 6")
"""Enough for one checkpoint in each training"""


@pytest.fixture(scope="module")
def longer_whole(first_night, tmp_path_factory):
    folder = tmp_path_factory.mktemp("longer") / "shop"
    shutil.copytree(first_night.folder, folder)
    world = type(first_night)(folder, first_night.sales)
    world.describe(learn=LONGER)
    world.sell(1)
    world.night()
    return world.checksums(2)


@pytest.mark.parametrize(
    "checkpoint", [1, 2]
)  # of the model that is tested, and of the one that is published
def test_a_run_that_is_killed_in_training_goes_on_from_its_checkpoint(
    later, checkpoint, longer_whole, monkeypatch
):
    from tastemaker.training import train

    later.describe(learn=LONGER)
    later.sell(1)
    killed_in_training(later.file, checkpoint)
    kept = list((later.folder / "shop.nights").rglob("checkpoint.json"))
    assert len(kept) == 1
    assert later.stable() == 1
    read, resumed = train.read_checkpoint, []
    monkeypatch.setattr(train, "read_checkpoint", lambda *given: resumed.append(given[0]) or read(*given))
    run = later.night()
    assert (run.outcome, run.version) == ("published", 2)
    assert resumed == [kept[0].parent]
    assert later.checksums(2) == longer_whole
    assert not list((later.folder / "shop.nights").rglob("*.checkpoint"))


def test_a_checkpoint_that_is_spoilt_or_of_another_training_is_begun_anew(later, longer_whole):
    later.describe(learn=LONGER)
    later.sell(1)
    killed_in_training(later.file, 2)
    (kept,) = (later.folder / "shop.nights").rglob("checkpoint.json")
    kept.write_text("{")
    assert later.night().outcome == "published"
    assert later.checksums(2) == longer_whole


def test_two_runs_at_once_are_one(later):
    later.sell(1)
    with (
        locked(later.folder / "shop.nights" / "run"),
        pytest.raises(ModelFolderProblem, match=r"another run of .* is at work"),
    ):
        later.night()
    assert later.stable() == 1


def test_a_source_that_is_away_is_kept_in_the_history_and_the_old_version_serves(later):
    (later.folder / "log.parquet").unlink()
    with pytest.raises(DataError, match="does not exist"):
        later.night()
    last = history_of(read_shop_file(later.file))[-1]
    assert last["outcome"] == "failed"
    assert "does not exist" in last["why"][0]
    assert later.stable() == 1


def test_a_dry_run_says_what_would_follow_and_leaves_nothing(later):
    later.sell(1)
    run = later.night(dry=True)
    assert (run.outcome, run.version) == ("dry run", 2)
    assert "if it is not significantly worse than version 1" in run.why[0]
    assert not (later.models / "2").exists()
    assert len(history_of(read_shop_file(later.file))) == 1


def test_live_events_later_than_the_log_count_and_the_others_are_in_it(later):
    from tastemaker.serving.answering.event_store import Event, Events

    later.describe('[live]\nevents = "events.db"\n')
    last = int(later.until(0)["time"].max().timestamp() * 1e6)
    events = Events(later.folder / "events.db")
    product = str(later.until(0)["product_id"][0])
    events.add(
        [
            Event("c-000001", product, last - 10),
            Event("c-000001", product, last + 10),
            Event("zoe", product, last + 20),
        ]
    )
    events.close()
    run = later.night()
    assert (run.live_events, run.figures["purchases"]) == (2, len(later.until(0)) + 2)
    model = load(later.models / "2")
    assert "zoe" in model.users.ids.to_list()
    assert model.products.ids.dtype == load(later.models / "1").products.ids.dtype


def test_a_refund_among_live_events_takes_the_purchase_back(later):
    from tastemaker.serving.answering.event_store import Event, Events

    later.describe('[live]\nevents = "events.db"\n')
    bought = later.until(0).row(-1, named=True)
    events = Events(later.folder / "events.db")
    moment = int(later.until(0)["time"].max().timestamp() * 1e6) + 5
    events.add([Event(bought["user_id"], str(bought["product_id"]), moment, kind="refund")])
    events.close()
    assert later.night().figures["purchases"] == len(later.until(0)) - 1


def test_a_database_is_a_source(world):
    world.describe(source="sqlite:///" + str(world.folder / "shop.db") + "#orders")
    with closing(sqlite3.connect(world.folder / "shop.db")) as connection:
        connection.execute("CREATE TABLE orders (user_id TEXT, product_id INTEGER, time TEXT, quantity REAL)")
        rows = world.until(0).with_columns(pl.col("time").dt.to_string("iso")).rows()
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
        connection.commit()
    assert world.night().figures["purchases"] == len(world.until(0))


def test_a_catalogue_may_lack_what_was_sold_last(world):
    catalogue = world.sales.select("product_id").unique().sort("product_id").head(60)
    catalogue.with_columns(kind=pl.col("product_id") % 4).write_csv(world.folder / "products.csv")
    world.describe('[products]\nfrom = "products.csv"\nfeatures = "kind"\n')
    world.sell(0)
    assert world.night().outcome == "published"
    assert len(load(world.models / "1").products) == world.until(0)["product_id"].n_unique()


def test_old_versions_are_removed_but_never_one_that_may_be_needed(later):
    later.describe("[publish]\nkeep = 2\n")
    for day in (1, 2, 3):
        later.sell(day)
        run = later.night()
    assert sorted(path.name for path in later.models.iterdir() if path.name.isdigit()) == ["3", "4"]
    assert run.removed == (2,)


def test_lists_and_vectors_are_written(later):
    later.describe(
        '[lists]\nusers = "out/lists.csv"\nsimilar = "out/similar.parquet"\nvectors = "out/vectors"\nk = 4\n'
    )
    later.sell(1)
    run = later.night()
    lists = pl.read_csv(later.folder / "out" / "lists.csv")
    assert (run.lists["users"], lists["rank"].max()) == (len(lists), 4)
    vectors = pl.read_parquet(later.folder / "out" / "vectors" / "products.parquet")
    assert vectors.columns == ["product_id", "vector"]


def test_every_run_has_a_page_and_what_comes_from_data_is_escaped(later):
    later.describe('[publish]\nname = "recommender"\n')
    later.sell(1, later.until(1).with_columns(user_id=pl.lit("<script>")))
    later.night()
    pages = sorted((later.folder / "shop.nights" / "reports").iterdir())
    assert len(pages) == 2
    assert "out of bounds" in pages[-1].read_text()
    assert "<script" not in pages[-1].read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[bound]\n", "has an unknown section 'bound'; did you mean 'bounds'?"),
        (
            "[bounds]\nfewest_row = 1\n",
            "[bounds] has an unknown key 'fewest_row'; did you mean 'fewest_rows'?",
        ),
        ("[publish]\nkeep = 1\n", "keep at least 2 versions"),
        ("[publish]\nkeep = true\n", "keep is True; it must be a whole number."),
        ("[bounds]\nmost_rows = -1\n", "must be a number of 0 or more"),
        ("[live]\nevents = 7\n", "[live] events is 7; it must be a text."),
        ("[live]\nevents = '${NOT_SET_ANYWHERE}'\n", "needs the environment variable NOT_SET_ANYWHERE"),
        ("[publish\n", "is no TOML"),
    ],
)
def test_a_shop_file_with_a_mistake_is_one_sentence(world, text, says):
    world.describe(text)
    with pytest.raises(SettingProblem) as caught:
        read_shop_file(world.file)
    assert says in str(caught.value)


def test_a_password_of_a_shop_file_stands_in_no_message(world, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2hunter")
    world.describe(source="postgresql://ann:${SHOP_PASSWORD}@127.0.0.1:1/shop#orders")
    with pytest.raises(DataError) as caught:
        world.night()
    page = next((world.folder / "shop.nights").rglob("history.jsonl")).read_text()
    assert "hunter2hunter" not in page + str(caught.value)


def test_the_commands_say_it_and_exit_as_promised(tastemaker, tmp_path):
    world = make_world(tmp_path / "shop")
    world.file.unlink()
    world.sell(0)
    ran = tastemaker("init", world.folder / "log.parquet", "--out", world.file)
    assert ran.returncode == 0, ran.stderr
    text = world.file.read_text()
    assert 'from = ["log.parquet"]' in text
    assert 'user_column = "user_id"' in text
    world.file.write_text(
        text.replace("[learn]", "[learn]\neffort = 'quick'\nsettings = { dimensions = 4, epochs = 1 }")
    )
    ran = tastemaker("run", world.file, "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["version"] == 1
    world.sell(1, world.until(1).head(100))
    ran = tastemaker("run", world.file)
    assert ran.returncode == 3
    assert "Stopped: version 1 serves on." in ran.stderr
    ran = tastemaker("history", world.file)
    assert [line.split()[1] for line in ran.stdout.splitlines()[1:3]] == ["published", "out"]
    assert tastemaker("run", tmp_path / "none.toml").returncode == 1
    assert tastemaker("init", world.folder / "log.parquet", "--out", world.file).returncode == 1


# Workers ------------------------------------------------------------------------------------------------------

LISTS = '[lists]\nusers = "lists.parquet"\nsimilar = "similar.csv"\nk = 3\n'


def test_workers_make_the_version_and_the_lists_that_one_process_makes(world, tmp_path):
    """Learned on shards, so that processes have something to do."""
    alone = type(world)(tmp_path / "alone", world.sales)
    alone.folder.mkdir()
    learn = 'effort = "quick"\nsettings = { dimensions = 8, epochs = 1, shards = 2 }\n'
    told = []
    for shop, workers in ((world, 'workers = "local:2"\n'), (alone, "")):
        shop.describe(LISTS, learn=learn + workers)
        shop.sell(0)
        assert shop.night(say=told.append).outcome == "published"
    assert world.checksums(1) == alone.checksums(1)
    for file in ("lists.parquet", "similar.csv"):
        assert (world.folder / file).read_bytes() == (alone.folder / file).read_bytes()
    assert (
        sum(" did " in line for line in told) == 4
    )  # twice learned, for the test and for all; users and products
    assert not (read_shop_file(world.file).state / "work").exists()


def test_workers_that_there_are_not_are_refused_before_anything_is_read(world, tmp_path):
    world.describe(learn='workers = "moon"\n')
    with pytest.raises(SettingProblem, match=r"shop.toml: work cannot be done on 'moon'; write local"):
        read_shop_file(world.file)
