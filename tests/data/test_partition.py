"""A log in pieces on disk: the same log, whatever the pieces; resumed where it ended; refused where pieces differ."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.data.partition import partition as module
from tastemaker.data.partition.partition import partition_log
from tastemaker.data.reading.options import Reading
from tastemaker.errors import DataError, FolderExists, SettingProblem
from tastemaker.storage import writing_folder


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Three Parquet files of one log: text ids, times, quantities, repeated pairs, rows without a user."""
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("log")
    for number, rows in enumerate((700, 1, 450)):
        frame = pl.DataFrame(
            {
                "user_id": [f"u{user}" if user else None for user in rng.integers(0, 60, rows)],
                "sku": [f"p{product}" for product in rng.integers(0, 25, rows)],
                "time": pl.from_epoch(pl.Series(rng.integers(1_600_000_000, 1_700_000_000, rows))),
                "quantity": rng.integers(1, 5, rows),
            }
        )
        frame.with_columns(pl.col("time").dt.cast_time_unit("us")).write_parquet(folder / f"{number}.parquet")
    return folder


@pytest.mark.parametrize(("rows_at_once", "pairs_at_once"), [(10_000, 10_000), (100, 64), (37, 1)])
def test_a_log_in_pieces_is_the_log_read_at_once(logs, tmp_path, monkeypatch, rows_at_once, pairs_at_once):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", pairs_at_once)
    whole = tm.read_purchases(logs)
    log = partition_log(logs, tmp_path / "on disk", rows_at_once=rows_at_once)
    assert log.fingerprint() == whole.fingerprint()
    kept, made = log.histories(), whole.histories()
    assert np.array_equal(kept.offsets, made.offsets)
    assert np.array_equal(kept.products, made.products)
    assert (log.pairs(), log.time_unit) == (whole.pairs(), whole.time_unit)
    for name in ("rows", "without_user", "repeats", "users", "products", "pairs", "columns"):
        assert getattr(log.summary, name) == getattr(whole.summary, name)
    assert log.summary.time.as_dict() == whole.summary.time.as_dict()
    assert not (tmp_path / "on disk" / "pieces").exists()


def test_its_arrays_are_mapped_and_its_histories_are_those_of_its_own_rows_alone(logs, tmp_path):
    log = partition_log(logs, tmp_path / "on disk", rows_at_once=300)
    for array in (log.user_rows, log.times, log.histories().products):
        base = array
        while base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
    some = log.take(np.arange(40))
    assert len(some.histories().products) <= 40
    assert len(some.histories()) == len(log.users)


def test_a_model_of_it_is_the_model_of_the_log(logs, tmp_path):
    log = partition_log(logs, tmp_path / "on disk", rows_at_once=300)
    settings = {"epochs": 2, "dimensions": 8, "effort": "quick", "shards": 3, "progress": False}
    here, there = (tm.train(one, **settings) for one in (tm.read_purchases(logs), log))
    assert here.product_vectors.tobytes() == there.product_vectors.tobytes()
    assert here.record.data_fingerprint == there.record.data_fingerprint


def test_integers_and_logs_without_times_are_pieces_too(tmp_path):
    frame = pl.DataFrame({"user": [7, 3, 7, 9], "product": [2, 2, 1, 5]})
    frame.write_parquet(tmp_path / "log.parquet")
    log = partition_log(tmp_path / "log.parquet", tmp_path / "on disk", rows_at_once=1)
    assert log.fingerprint() == tm.read_purchases(frame).fingerprint()
    assert log.times is None


def test_a_run_that_was_ended_goes_on_after_the_last_whole_piece(logs, tmp_path, monkeypatch):
    read, seen = module.read_purchases, []

    def counting(*given, **how):
        seen.append(given)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(*given, **how)

    monkeypatch.setattr(module, "read_purchases", counting)
    with pytest.raises(KeyboardInterrupt):
        partition_log(logs, tmp_path / "on disk", rows_at_once=300)
    assert len(list((tmp_path / "on disk" / "pieces").iterdir())) == 2
    with writing_folder(tmp_path / "on disk" / "pieces" / "odd"):
        pass  # what else lies there is in nobody's way
    log = partition_log(logs, tmp_path / "on disk", rows_at_once=300)
    assert log.fingerprint() == tm.read_purchases(logs).fingerprint()
    assert (
        len(seen) == 3 + 1 + 4
    )  # six pieces, of which two were there; the first is read again, to compare the others with
    partition_log(logs, tmp_path / "on disk", rows_at_once=300)
    assert len(seen) == 8  # complete: nothing is read


def test_a_folder_of_another_log_is_refused(logs, tmp_path):
    partition_log(logs, tmp_path / "on disk")
    with pytest.raises(FolderExists, match="the partition of another log, of other flags"):
        partition_log(logs, tmp_path / "on disk", reading=Reading(where=("quantity > 1",)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    with pytest.raises(FolderExists, match="is no partition of a log"):
        partition_log(logs, tmp_path / "mine")


def test_what_needs_the_whole_log_or_is_understood_in_two_ways_is_refused(logs, tmp_path):
    with pytest.raises(SettingProblem, match="leave out --context and --value-column"):
        partition_log(logs, tmp_path / "a", reading=Reading(context=("shop",), value_column="price"))
    with pytest.raises(SettingProblem, match="files of this machine"):
        partition_log("postgresql://host/shop", tmp_path / "b")
    pl.DataFrame({"user": [1], "product": [2]}).write_csv(tmp_path / "0.csv")
    pl.DataFrame({"user": ["ann"], "product": [2]}).write_csv(tmp_path / "1.csv")
    with pytest.raises(DataError, match=r"ids of users were understood in two ways.*1\.csv"):
        partition_log([tmp_path / "0.csv", tmp_path / "1.csv"], tmp_path / "c")
