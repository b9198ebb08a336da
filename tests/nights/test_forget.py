"""A user who must go: from versions, tables, live events and later nights; and the receipt, computed again."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import numpy as np
import polars as pl
import pytest
from night_worlds import make_world

from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import ModelFolderProblem, UnknownId
from tastemaker.model.folder import load, read_manifest
from tastemaker.model.forgotten import FILE, Forgotten, remember_to_forget
from tastemaker.model.manifest import receipt_of
from tastemaker.nights.audit import receipt_learned_anew, receipt_without
from tastemaker.nights.history import history_of
from tastemaker.nights.shop_file import read_shop_file
from tastemaker.serving.answering.event_store import Event, Events, read_events
from tastemaker.serving.forgetting import forget_user
from tastemaker.training.baselines.co_purchase import co_purchase
from tastemaker.training.forget import without_users
from tastemaker.training.train import train

USER = "c-000007"


@pytest.fixture(scope="module")
def first_night(tmp_path_factory):
    world = make_world(tmp_path_factory.mktemp("forget") / "shop")
    world.sell(0)
    assert world.night().outcome == "published"
    assert len(world.until(0).filter(pl.col("user_id") == USER)) > 3
    return world


@pytest.fixture
def world(first_night, tmp_path):
    shutil.copytree(first_night.folder, tmp_path / "shop")
    return type(first_night)(tmp_path / "shop", first_night.sales)


def without(log):
    return log.filter(pl.col("user_id") != USER)


def bytes_under(folder):
    """All that any file of a folder holds, one after another."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# The tables ---------------------------------------------------------------------------------------------------


def test_tables_without_a_user_are_those_counted_by_hand_from_a_log_without_them():
    log = pl.DataFrame(
        {"user_id": ["ann", "ann", "bob", "bob", "bob", "cat", "cat"], "product_id": [*"xyxyzyz"]}
    )
    model = co_purchase(read_purchases(log))
    less = without_users(model, model.users.rows(["bob"]))

    def pairs(model):
        found = {}
        for source, product in enumerate(model.products.ids):
            for place in range(model.memory.offsets[source], model.memory.offsets[source + 1]):
                other = model.products.ids[int(model.memory.products[place])]
                found[product, other] = float(model.memory.weights[place])
        return found

    assert pairs(model) == {
        **dict.fromkeys([("x", "y"), ("y", "x"), ("y", "z"), ("z", "y")], 2.0), ("x", "z"): 1.0, ("z", "x"): 1.0,
    }  # fmt: skip
    assert pairs(less) == dict.fromkeys([("x", "y"), ("y", "x"), ("y", "z"), ("z", "y")], 1.0)
    assert less.users.ids.to_list() == ["ann", "cat"]
    assert less.record.purchases == 4


@pytest.mark.parametrize("more", ["counts", "every table", "kinds and attributes"])
def test_every_table_is_to_the_byte_that_of_a_model_which_never_counted_the_user(first_night, more):
    """Vectors are learned, tables are counted: the second of two models that differ in nothing but the user has the same tables."""
    log = first_night.until(0)
    settings = {
        "dimensions": 4,
        "epochs": 1,
        "memory.count_weight": 1.0,
        "memory.ridge_weight": 0.0,
        "memory.directed_weight": 0.0,
    }
    options = {}
    if more != "counts":
        settings |= {"memory.ridge_weight": 0.5, "memory.directed_weight": 0.5}
    if more == "kinds and attributes":
        ages = log["user_id"].hash(3) % 3
        log = log.with_columns(
            event=pl.when(pl.int_range(pl.len()) % 4 > 0).then(pl.lit("purchase")).otherwise(pl.lit("view")),
            age=pl.Series([f"age {age}" for age in ages]),
        )
        settings |= {
            "kinds.own": "view=0.5",
            "kinds.after": "view=0.5",
            "kinds.taste": "view=0.2",
            "tokens.columns": "user:age",
        }
        from tastemaker.data.reading.options import Reading

        options["reading"] = Reading(
            event_column="event",
            events={"purchase": ("purchase",), "view": ("view",)},
            user_features=("age",),
        )
    model, other = (
        train(read_purchases(one, **options), effort="quick", progress=False, **settings)
        for one in (log, without(log))
    )
    assert len(model.products) == len(other.products)
    less = without_users(model, model.users.rows([USER]))
    assert less.users.ids.to_list() == other.users.ids.to_list()
    tables = [(less.memory, other.memory), (less.histories, other.histories), (less.past, other.past)]
    if more == "kinds and attributes":
        assert less.kinds is not None
        tables += [(less.kinds.memory, other.kinds.memory), (less.tokens.of_users, other.tokens.of_users)]
    for mine, theirs in tables:
        for name in ("offsets", "products", "weights", "times", "tokens"):
            if hasattr(mine, name):
                np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)
    if less.live is not None and less.live == other.live:
        np.testing.assert_allclose(less.product_bias, other.product_bias, rtol=1e-5)
    assert less.record.purchases == other.record.purchases
    assert not np.array_equal(less.memory.weights, model.memory.weights)


# At once --------------------------------------------------------------------------------------------------------


def test_a_forgotten_user_is_in_no_file_of_the_version_in_service(world):
    found = forget_user(world.models, USER)
    assert [one.version for one in found.emptied] == [1]
    assert (found.left, found.removed, found.unreadable, found.again) == ((), (), (), False)
    assert USER.encode() not in bytes_under(world.models)
    model = load(world.models / "1")
    assert USER not in model.users.ids.to_list()
    assert len(model.users) == world.until(0)["user_id"].n_unique() - 1


def test_the_version_keeps_its_time_and_loses_the_mark_of_what_it_was_made_from(world):
    before = read_manifest(world.models / "1")
    forget_user(world.models, USER)
    after = read_manifest(world.models / "1")
    assert (after["created"], after["version"]) == (before["created"], 1)
    assert after["metrics"]["forgotten"] == 1
    assert world.night().version == 2  # the same log, and yet another model


def test_live_events_are_deleted_and_their_bytes_overwritten(tmp_path, world):
    file = tmp_path / "events.db"
    with closing(Events(file)) as events:
        events.add([Event(USER, "7", 5), Event("zoe", "8", 6), Event(USER, "9", 7)])
        found = forget_user(world.models, USER, events=events)
        assert found.live_events == 2
        assert events.events_of([USER, "zoe"]) == {"zoe": [Event("zoe", "8", 6)]}
        assert USER.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("events.db*"))
        events.add([Event("zoe", "8", 9)])
    assert read_events(file)["number"].to_list() == [2, 4]  # numbers are never given again


def test_older_versions_are_named_or_removed_everywhere(world):
    world.sell(1)
    assert world.night().version == 2
    shutil.copytree(world.models / "1", world.models / "kept" / "before")
    found = forget_user(world.models, USER)
    assert [one.version for one in found.emptied] == [2]
    assert found.left == ("1", "kept/before")
    found = forget_user(world.models, USER, everywhere=True)
    assert (found.again, found.left, found.removed) == (True, (), ("1", "kept/before"))
    assert USER.encode() not in bytes_under(world.models)
    assert world.stable() == 2


def test_a_version_that_cannot_be_read_is_said(world):
    shutil.copytree(world.models / "1", world.models / "2")
    (world.models / "2" / "users.arrow").write_bytes(b"nothing")
    assert forget_user(world.models, USER).unreadable == ("2",)


def test_an_unknown_user_changes_nothing_unless_in_advance(world):
    before = bytes_under(world.models / "1")
    with pytest.raises(UnknownId, match=r"user 'nobody' is in no version of .*; nothing was changed\."):
        forget_user(world.models, "nobody")
    assert not (world.models / FILE).exists()
    forget_user(world.models, "nobody", in_advance=True)
    assert Forgotten.of(world.models).since("nobody") is not None
    assert bytes_under(world.models / "1") == before


def test_the_list_of_the_forgotten_remembers_nobody(tmp_path):
    remember_to_forget(tmp_path, ["ann", 7])
    text = (tmp_path / FILE).read_text()
    assert "ann" not in text
    assert '"7"' not in text
    found = Forgotten.of(tmp_path)
    assert [found.since(user) is not None for user in ("ann", "7", 7, "bob")] == [True, True, True, False]
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(ModelFolderProblem, match="put it back from a backup"):
        Forgotten.of(tmp_path)


# The next night -----------------------------------------------------------------------------------------------


def test_the_next_night_is_to_the_byte_that_of_a_shop_which_never_knew_the_user(world, tmp_path):
    forget_user(world.models, USER)
    world.sell(1)
    run = world.night()
    assert (run.outcome, run.version) == ("published", 2)
    assert run.forgotten_rows == len(world.until(1).filter(pl.col("user_id") == USER))
    never = make_world(tmp_path / "never")
    never.sell(1, without(never.until(1)))
    assert never.night().receipt == run.receipt
    assert never.checksums(1) == world.checksums(2)
    assert USER.encode() not in bytes_under(world.models)


def test_a_catalogue_of_users_does_not_bring_a_forgotten_one_back(world):
    ids = world.sales.select("user_id").unique().sort("user_id")
    ids.with_columns(age=pl.lit("adult")).write_csv(world.folder / "users.csv")
    world.describe('[users]\nfrom = "users.csv"\nfeatures = "age"\n')
    forget_user(world.models, USER)
    assert world.night().outcome == "published"
    assert USER not in load(world.models / "2").users.ids.to_list()


def test_what_a_forgotten_user_does_later_counts_again(world):
    forget_user(world.models, USER)
    marks = json.loads((world.models / FILE).read_text())
    moment = int(world.until(0)["time"].max().timestamp() * 1e6)
    marks["users"] = dict.fromkeys(marks["users"], moment)  # as if it had been then
    (world.models / FILE).write_text(json.dumps(marks))
    log = world.until(1)
    back = (
        log.filter(pl.col("time") > log["time"].sort()[len(world.until(0)) + 3])
        .head(2)
        .with_columns(user_id=pl.lit(USER))
    )
    world.sell(1, pl.concat([log, back]))
    assert world.night().outcome == "published"
    model = load(world.models / "2")
    row = model.users.rows([USER])[0]
    assert model.past.offsets[row + 1] - model.past.offsets[row] == len(
        pl.concat([log, back]).filter((pl.col("user_id") == USER) & (pl.col("time").dt.epoch("us") > moment))
    )


def test_a_run_publishes_nothing_of_a_user_who_is_forgotten_while_it_learns(world):
    world.sell(1)

    def at_step(name):
        if name == "publish":
            forget_user(world.models, USER)

    with pytest.raises(ModelFolderProblem, match="were forgotten while this run learned"):
        world.night(at_step=at_step)
    assert not (world.models / "2").exists()
    assert history_of(read_shop_file(world.file))[-1]["outcome"] == "failed"
    assert world.night().outcome == "published"
    assert USER.encode() not in bytes_under(world.models)


# The receipt --------------------------------------------------------------------------------------------------


def test_the_receipt_of_a_backup_without_the_user_is_that_of_the_version_left(world, tmp_path):
    shutil.copytree(world.models / "1", tmp_path / "backup")
    (emptied,) = forget_user(world.models, USER).emptied
    assert receipt_without(tmp_path / "backup", USER) == emptied.receipt
    assert emptied.receipt == receipt_of(read_manifest(world.models / "1"))


def test_an_auditor_computes_the_receipt_again_from_the_sources(world):
    forget_user(world.models, USER)
    run = world.night()
    world.sell(3)  # the log has grown since
    shop = read_shop_file(world.file)
    assert receipt_learned_anew(world.models / "2", shop) == run.receipt
    (world.models / FILE).unlink()  # without it the user would be learned again
    assert receipt_learned_anew(world.models / "2", shop) != run.receipt


def test_the_commands_forget_and_check(tastemaker, world):
    events = world.folder / "events.db"
    with closing(Events(events)) as store:
        store.add([Event(USER, "7", 5)])
    ran = tastemaker("forget", world.models, "--user", USER, "--events", events)
    assert ran.returncode == 0, ran.stderr
    assert "Live events: 1 deleted." in ran.stderr
    receipt = receipt_of(read_manifest(world.models / "1"))
    assert f"Version 1 no longer holds them. Receipt: {receipt}" in ran.stderr
    assert tastemaker("receipt", world.models / "1").stdout.strip() == receipt
    refused = tastemaker("receipt", world.models / "1", "--shop", world.file)
    assert refused.returncode == 1
    assert "the next run makes one that never saw them" in refused.stderr
    world.night()
    ran = tastemaker("receipt", world.models / "2", "--shop", world.file, "--json")
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["receipt"] == said["learned_anew"]
    ran = tastemaker("forget", world.models, "--user", "nobody")
    assert ran.returncode == 1
    assert "nothing was changed" in ran.stderr
    ran = tastemaker("forget", world.folder, "--user", USER)
    assert ran.returncode == 1
    assert "holds no numbered versions" in ran.stderr
