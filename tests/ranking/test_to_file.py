"""Lists written to Parquet: the same as in memory, whole or not at all."""

from __future__ import annotations

import errno
import uuid
from functools import partial

import polars as pl
import pytest

from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import TastemakerError, UnreadableFile
from tastemaker.ranking.export import to_file
from tastemaker.ranking.export.to_file import check_file, write_lists
from tastemaker.ranking.recommend import recommend, similar
from tastemaker.training.baselines.best_sellers import best_sellers


@pytest.mark.parametrize("at_once", [7, 400, 10_000])
def test_the_file_holds_the_lists_that_recommend_returns(workshop_model, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(to_file, "QUERIES_AT_ONCE", at_once)
    done = []
    users = workshop_model.users.ids
    rank = partial(recommend, workshop_model, k=4)
    lines = write_lists(users, rank, tmp_path / "r.parquet", on_progress=done.append)
    expected = recommend(workshop_model, users, k=4).to_frame()
    assert pl.read_parquet(tmp_path / "r.parquet").equals(expected)
    assert (lines, sum(done)) == (expected.height, 400)
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]


def test_the_file_holds_the_lists_that_similar_returns(workshop_model, tmp_path):
    options = {"k": 3, "similarity": "cosine", "include_self": True}
    products = workshop_model.products.ids
    write_lists(products, partial(similar, workshop_model, **options), tmp_path / "s.parquet")
    assert pl.read_parquet(tmp_path / "s.parquet").equals(
        similar(workshop_model, products, **options).to_frame()
    )


def test_ids_are_written_in_their_original_type(tmp_path):
    users = [uuid.UUID(int=2**127 + n * 2**80).bytes for n in range(3)]
    log = pl.DataFrame({"user_id": users, "product_id": pl.Series([5, 6, 7], dtype=pl.UInt16)})
    model = best_sellers(read_purchases(log))
    write_lists(model.users.ids, partial(recommend, model), tmp_path / "r.parquet")
    frame = pl.read_parquet(tmp_path / "r.parquet")
    assert frame.schema == pl.Schema(
        {"user_id": pl.Binary, "product_id": pl.UInt16, "rank": pl.Int32, "score": pl.Float32}
    )
    assert set(frame["user_id"].to_list()) == set(users)


def test_nobody_gives_a_file_without_lines(workshop_model, tmp_path):
    nobody = pl.Series("id", [], dtype=pl.String)
    assert write_lists(nobody, partial(recommend, workshop_model), tmp_path / "r.parquet") == 0
    assert pl.read_parquet(tmp_path / "r.parquet").columns == ["user_id", "product_id", "rank", "score"]


def test_an_older_file_is_replaced_only_by_a_whole_one(workshop_model, tmp_path, monkeypatch):
    file, users = tmp_path / "r.parquet", workshop_model.users.ids
    file.write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TastemakerError, match=r"cannot write .*r\.parquet.*No space left"):
        write_lists(users, partial(recommend, workshop_model), file)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]
    monkeypatch.undo()
    write_lists(users, partial(recommend, workshop_model), file)
    assert pl.read_parquet(file).height > 0


def test_an_error_midway_leaves_nothing(workshop_model, tmp_path, monkeypatch):
    monkeypatch.setattr(to_file, "QUERIES_AT_ONCE", 100)

    def fail(done):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(TastemakerError, match="cannot write"):
        write_lists(
            workshop_model.users.ids,
            partial(recommend, workshop_model),
            tmp_path / "r.parquet",
            on_progress=fail,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_no_file_can_be_is_refused(tmp_path):
    assert check_file(tmp_path / "r.parquet") == tmp_path / "r.parquet"
    with pytest.raises(UnreadableFile, match="is a folder; name a file"):
        check_file(tmp_path)
    with pytest.raises(UnreadableFile, match="missing or not writable"):
        check_file(tmp_path / "nowhere" / "r.parquet")
