"""The first calls of someone new to it: each does what its writer means, and what cannot be meant is refused."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.data.reading.given import ReadingWarning
from tastemaker.errors import DataError, FolderExists, NoPurchases, SettingProblem, UnknownId

QUICK = {"epochs": 2, "dimensions": 8, "progress": False}


@pytest.fixture(scope="module")
def frame(shop):
    log = shop.purchases
    return pl.DataFrame(
        {
            "user_id": log.users.at(log.user_rows),
            "product_id": log.products.at(log.product_rows),
            "time": pl.Series(log.times).cast(pl.Datetime("us")),
        }
    )


@pytest.fixture(scope="module")
def parts(frame):
    border = frame["time"].quantile(0.85)
    return frame.filter(pl.col("time") <= border), frame.filter(pl.col("time") > border)


@pytest.fixture(scope="module")
def model(parts):
    return tm.train(parts[0], **QUICK)


# Learning -----------------------------------------------------------------------------------------------------


def same(one, other):
    return np.array_equal(one.product_vectors, other.product_vectors) and np.array_equal(
        one.product_bias, other.product_bias
    )


@pytest.mark.parametrize("form", ["polars", "pandas", "arrow", "file", "log"])
def test_a_log_in_any_form_is_learned_from_alike(parts, model, form, tmp_path):
    train = parts[0]
    train.write_parquet(tmp_path / "log.parquet")
    given = {
        "polars": lambda: train,
        "pandas": train.to_pandas,
        "arrow": train.to_arrow,
        "file": lambda: str(tmp_path / "log.parquet"),
        "log": lambda: tm.read_purchases(train),
    }[form]()
    assert same(tm.train(given, **QUICK), model)


def test_settings_by_name_are_those_of_a_changed_preset(parts, model):
    log = tm.read_purchases(parts[0])
    config = tm.preset("default").changed(dimensions=8, epochs=2)
    assert same(tm.train(log, config, seed=0), model)
    assert same(tm.train(log, tm.preset("default"), epochs=2, dimensions=8), model)
    assert same(tm.train(log, "default", **QUICK), model)
    assert tm.train(log, preset="workshop", epochs=1, learning_rate=5).record.config.preset == "workshop"


def test_a_log_alone_is_enough_to_learn(shop):
    log = tm.make_shop(users=120, products=30, purchases=600).purchases
    assert tm.train(log).record.config.preset == "default"


def test_a_setting_that_there_is_not_is_named_and_so_is_the_nearest(parts):
    with pytest.raises(SettingProblem, match=r"there is no setting 'dimension' \(perhaps 'dimensions'\?\)"):
        tm.train(parts[0], dimension=8)
    with pytest.raises(SettingProblem, match="config and preset='workshop' were given"):
        tm.train(parts[0], "default", preset="workshop")


def test_an_older_model_gives_its_settings(parts, model):
    again = tm.train(parts[0], start_from=model)
    assert again.dimensions == 8
    assert len(again.record.epochs) == 2  # three fifths of two, rounded up


def test_what_a_reader_should_know_of_a_log_is_a_warning_where_it_is_read_on_the_way():
    log = pl.DataFrame(
        {"user": ["a", "b"] * 30, "product": ["x", "y"] * 30, "date": [None, "2024-01-05"] * 30}
    )
    told = tm.read_purchases(log).summary.warnings
    if not told:
        pytest.skip("reading has nothing to say of this log")
    with pytest.warns(ReadingWarning) as heard:
        tm.best_sellers(log)
    assert [str(warning.message) for warning in heard] == list(told)


def test_a_split_is_no_log(shop):
    split = tm.hold_out_last(shop.purchases)
    with pytest.raises(DataError, match=r"give one of them, such as split\.train"):
        tm.train(split, **QUICK)


def test_what_is_to_be_measured_as_missed_is_not_learned_from(parts, model):
    stranger = parts[1].head(1).with_columns(product_id=pl.lit(-7, parts[1]["product_id"].dtype))
    held = tm.read_held_out(pl.concat([parts[1], stranger]), model.users, model.products)
    for call in (tm.best_sellers, lambda log: tm.fold_in(model, log), lambda log: tm.train(log, **QUICK)):
        with pytest.raises(DataError, match=r"of products that the model does not know.*give HeldOut\.known"):
            call(held.purchases)
        with pytest.raises(DataError, match="read a log with read_purchases"):
            call(held)
    assert len(tm.best_sellers(held.known).users) == len(model.users)


def test_a_split_and_a_frame_are_replayed_alike(shop):
    split = tm.hold_out_time(shop.purchases, "2024-12-01")
    model = tm.best_sellers(split.train)
    expected = tm.replay(model, split.held_out, beside=[]).metrics
    assert tm.replay(model, split, beside=[]).metrics == expected
    assert tm.replay(model, split.held_out.to_frame(), beside=[]).metrics == expected
    with pytest.raises(DataError, match="knows no new users; read a log with read_purchases"):
        tm.replay(model, tm.read_held_out(split.held_out.to_frame(), model.users, model.products))


# Measuring ----------------------------------------------------------------------------------------------------


def reversed_ids(later):
    """Return the later part over vocabularies of its own, whose rows are other ones than the model's."""
    return tm.read_purchases(later.filter(pl.col("user_id") > "c-000050"))


def test_purchases_read_with_another_vocabulary_measure_the_same(parts, model):
    later = parts[1]
    held = tm.read_held_out(later, model.users, model.products)
    expected = tm.evaluate(model, held.purchases).metrics
    for given in (later, later.to_pandas(), tm.read_purchases(later), held):
        report = tm.evaluate(model, given)
        assert report.metrics == expected
        assert report.unknown_product_rows == held.unknown_product_rows
    some = later.filter(pl.col("user_id") > "c-000050")
    by_hand = tm.evaluate(model, tm.read_held_out(some, model.users, model.products))
    assert tm.evaluate(model, reversed_ids(later)).metrics == by_hand.metrics


def test_what_the_model_does_not_know_is_counted(parts, model):
    strangers = pl.DataFrame(
        {
            "user_id": ["nobody", model.users.ids[0]],
            "product_id": [model.products.ids[0], -7],
            "time": [parts[1]["time"][0]] * 2,
        },
        schema=parts[1].schema,
    )
    report = tm.evaluate(model, pl.concat([parts[1], strangers]))
    plain = tm.evaluate(model, parts[1])
    assert report.unknown_user_rows == plain.unknown_user_rows + 1
    assert report.unknown_product_rows == plain.unknown_product_rows + 1


def test_strangers_only_are_refused(model):
    with pytest.raises(NoPurchases, match="'nobody'"):
        tm.evaluate(model, tm.read_purchases(pl.DataFrame({"user": ["nobody"], "product": [1]})))


def test_a_split_and_a_single_length_are_understood(shop):
    split = tm.hold_out_random(shop.purchases)
    model = tm.best_sellers(split.train)
    assert set(tm.evaluate(model, split, at=5).metrics) == set(
        tm.evaluate(model, split.held_out, at=[5]).metrics
    )
    assert tm.evaluate(model, split).metrics == tm.evaluate(model, split.held_out).metrics


def test_what_is_held_out_has_one_meaning(parts, model):
    """HeldOut.purchases is what evaluate measures and the command line, too; the known ones have a name of their own."""
    stranger = parts[1].head(1).with_columns(product_id=pl.lit(-7, parts[1]["product_id"].dtype))
    held = tm.read_held_out(pl.concat([parts[1], stranger]), model.users, model.products)
    assert len(held.purchases) == len(held.known) + held.unknown_product_rows
    assert tm.evaluate(model, held).metrics == tm.evaluate(model, held.purchases).metrics
    assert not hasattr(held, "to_measure")


def test_valid_of_any_vocabulary_is_measured_alike(parts):
    log = tm.read_purchases(parts[0])
    held = tm.read_held_out(parts[1], log.users, log.products).known
    expected = tm.train(log, "workshop", valid=held, epochs=1, dimensions=4).record.epochs[0]
    for valid in (parts[1], tm.read_purchases(parts[1]), reversed_ids(parts[1])):
        measured = tm.train(log, "workshop", valid=valid, epochs=1, dimensions=4).record.epochs[0]
        assert measured.valid_loss > 0
        if len(tm.read_purchases(parts[1])) == len(valid):
            assert measured.valid_loss == expected.valid_loss


def test_compare_takes_frames(parts):
    found = tm.compare(parts[0], parts[1], models="co-purchase")
    assert [entry.name for entry in found.measured] == ["best-sellers", "co-purchase"]
    alone = tm.evaluate(tm.best_sellers(parts[0]), parts[1])
    assert found.of("best-sellers").report.metrics == alone.metrics


def test_compare_takes_a_split(shop):
    split = tm.hold_out_random(shop.purchases)
    found = tm.compare(split, models="co-purchase")
    apart = tm.compare(split.train, split.held_out, models="co-purchase")
    assert [entry.report for entry in found.measured] == [entry.report for entry in apart.measured]
    with pytest.raises(SettingProblem, match="needs what was bought later"):
        tm.compare(split.train, models="co-purchase")


def test_compare_takes_metrics_and_lengths_without_a_measurement(parts):
    found = tm.compare(*parts, models=["co-purchase"], metrics="recall@20", at=[5, 20])
    again = tm.compare(
        *parts, models=["co-purchase"], measure=tm.Measurement(metrics=["recall@20"], at=[5, 20])
    )
    assert found.as_dict()["tests"] == again.as_dict()["tests"]
    assert found.at == again.at
    with pytest.raises(
        SettingProblem, match="there is nothing to measure called 'metric'; there are metrics, at"
    ):
        tm.compare(*parts, metric="recall@20")


# Lists --------------------------------------------------------------------------------------------------------


def test_one_user_may_be_asked_for_without_a_list(model):
    user = model.users.ids[3]
    assert tm.recommend(model, user).of(0) == tm.recommend(model, [user]).of(0)


def test_text_and_number_name_the_same_user():
    log = pl.DataFrame({"CustomerID": [17850, 17850, 13047], "StockCode": ["85123A", "71053", "85123A"]})
    model = tm.best_sellers(log)
    for user in ("17850", 17850, np.int64(13047), [13047], np.array([17850])):
        assert len(tm.recommend(model, user).lists) == 1
    assert tm.recommend(model, "13047").of(0) == [("71053", 1.0)]
    assert tm.score(model, 13047, "71053").tolist() == [[1.0]]


def test_one_product_may_be_asked_for_without_a_list(model):
    product = model.products.ids[0]
    assert tm.similar(model, product).of(0) == tm.similar(model, [product]).of(0)
    assert tm.similar(model, str(product)).of(0) == tm.similar(model, [product]).of(0)


def test_frames_name_the_users_and_products_of_their_columns(model, parts):
    few = parts[0].head(20)
    users = few["user_id"].unique(maintain_order=True)
    for given in (few, few.to_pandas(), users, few.to_pandas()["user_id"].unique()):
        lists = tm.recommend(model, given, k=2)
        assert lists.queries.to_list() == users.to_list()
    assert tm.similar(model, few).queries.to_list() == few["product_id"].unique(maintain_order=True).to_list()


def test_ids_without_lists_are_one_basket(model):
    basket = model.products.ids[:3].to_list()
    assert tm.recommend_baskets(model, basket).of(0) == tm.recommend_baskets(model, [basket]).of(0)
    assert tm.recommend_baskets(model, basket[0]).of(0) == tm.recommend_baskets(model, [basket[:1]]).of(0)
    assert len(tm.recommend_baskets(model, [[], basket]).lists) == 2
    assert len(tm.recommend_baskets(model, []).lists) == 0
    with pytest.raises(SettingProblem, match="some of the baskets are lists"):
        tm.recommend_baskets(model, [basket, basket[0]])


def test_an_unknown_id_is_named_whole(model):
    with pytest.raises(UnknownId, match=r"user 'xyz' is not among") as caught:
        tm.recommend(model, "xyz")
    assert caught.value.ids == ("xyz",)


# Splits and folders -------------------------------------------------------------------------------------------


def test_a_random_split_needs_no_generator(shop):
    rows = tm.hold_out_random(shop.purchases).held_out
    assert np.array_equal(rows.product_rows, tm.hold_out_random(shop.purchases, rng=0).held_out.product_rows)
    generator = np.random.default_rng(0)
    assert np.array_equal(
        rows.product_rows, tm.hold_out_random(shop.purchases, rng=generator).held_out.product_rows
    )
    assert len(tm.hold_out_users(shop.purchases, rng=3).held_out)


@pytest.mark.parametrize(
    "since", ["2024-11-01", date(2024, 11, 1), "2024-11-01T00:00", "2024-11-01T01:00+01:00"]
)
def test_a_split_at_a_date_holds_out_what_was_bought_from_then_on(frame, since):
    split = tm.hold_out_time(frame, since)
    later = frame.filter(pl.col("time") >= pl.datetime(2024, 11, 1))
    assert 0 < len(split.held_out) == len(later)
    assert len(split.train) == len(frame) - len(later)
    assert f"from {since} on" in split.description


def test_a_date_that_parts_nothing_is_refused_with_the_ends_of_the_log(frame):
    with pytest.raises(DataError, match=r"no purchase is from 2031-01-01; the log goes from 2024-\d\d-\d\d"):
        tm.hold_out_time(frame, "2031-01-01")
    with pytest.raises(DataError, match="no purchase is before 1999-01-01"):
        tm.hold_out_time(frame, "1999-01-01")
    with pytest.raises(SettingProblem, match="'last week' is no time; write a date such as"):
        tm.hold_out_time(frame, "last week")


def test_a_cell_may_run_again(model, tmp_path):
    folder = tmp_path / "models" / "shop" / "1"
    tm.save(model, folder)
    with pytest.raises(FolderExists, match="unless overwrite=True"):
        tm.save(model, folder)
    old = tm.load(folder)
    other = tm.best_sellers(pl.DataFrame({"user": [1], "product": [2]}))
    assert tm.save(other, folder, overwrite=True) == folder
    assert len(tm.load(folder).users) == 1
    assert np.array_equal(old.product_vectors, model.product_vectors)  # what is mapped stays
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    tm.save(old, folder, overwrite=True)
    assert same(tm.load(folder), model)


def test_nothing_but_a_model_is_overwritten(model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(FolderExists, match="is no folder of a model, so it is not overwritten"):
        tm.save(model, tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


# Errors speak of Python ---------------------------------------------------------------------------------------


def test_errors_speak_of_arguments_not_of_flags(frame, tmp_path):
    log = frame.drop("time")
    for call in (
        lambda: tm.hold_out_time(log),
        lambda: tm.train(frame.rename({"user_id": "who"})),
        lambda: tm.train(frame, "workshop", learning_rate=1e30, epochs=1),
        lambda: tm.train(frame, recovery=tm.Recovery(resume=tmp_path)),
        lambda: tm.replay(tm.best_sellers(frame), log),
    ):
        with pytest.raises(tm.TastemakerError) as caught:
            call()
        assert "--" not in str(caught.value), caught.value


def test_frames_of_pandas_come_and_go(parts, model):
    assert isinstance(tm.recommend(model, model.users.ids[0]).to_pandas(), pd.DataFrame)
