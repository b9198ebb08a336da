"""Millions of ids in files: each is found as in memory, and nothing else is; servers with many users answer from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_worlds import client_of, make_model

from tastemaker.data.identifiers import is_integer_text
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import DamagedModel
from tastemaker.model.folder import load, save
from tastemaker.serving.models import shared_pages
from tastemaker.serving.models.ids import history_files, id_files
from tastemaker.serving.models.ids.history_files import HistoryFiles
from tastemaker.serving.models.ids.id_files import IdFiles, VocabularyInFiles, write_ids
from tastemaker.serving.models.ids.id_lookup import IdLookup

letters = st.text("aé𝄞\n0", max_size=4)
whole = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(id_files, "BLOCK", 4)
    monkeypatch.setattr(id_files, "AT_ONCE", 8)


def in_files(folder, ids, form="plain", is_sorted=False):
    file = folder / "users.arrow"
    ids.alias("id").to_frame().write_ipc(file, compression="uncompressed")
    target = folder / f"files-{len(list(folder.iterdir()))}"
    write_ids(file, target, is_sorted=is_sorted)
    return VocabularyInFiles(file, IdFiles(target), "user", form, is_sorted)


@given(
    st.one_of(
        st.lists(letters.filter(bool), unique=True, min_size=1, max_size=40),
        st.lists(whole, unique=True, min_size=1, max_size=40),
    ),
    st.booleans(),
    st.lists(st.one_of(letters, whole, st.integers(2**64, 2**70)), max_size=10),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_id_is_found_at_its_row_and_no_other_is_found(tmp_path_factory, ids, ascending, strangers):
    series = pl.Series("id", sorted(ids) if ascending else ids)
    vocabulary = in_files(tmp_path_factory.mktemp("ids"), series, is_sorted=ascending)
    lookup = IdLookup(vocabulary)
    assert len(vocabulary) == len(series)
    assert vocabulary.ids.equals(series)
    assert [lookup.row(one) for one in series] == list(range(len(series)))
    assert list(lookup.at(np.arange(len(series))[::-1])) == series.to_list()[::-1]
    for stranger in strangers:
        if stranger not in ids:
            assert lookup.row(stranger) is None


def test_integers_beside_texts_are_found_by_either_spelling_as_in_memory(tmp_path):
    kept = Vocabulary(pl.Series("id", ["2", "9", "10", "guest-7"]), "user", "integers and text", False)
    assert is_integer_text(kept.ids).to_list() == [True, True, True, False]
    lookup = IdLookup(in_files(tmp_path, kept.ids, kept.form))
    asked = (10, "10", "guest-7", "010", 11, 1.0)
    assert [lookup.row(one) for one in asked] == [IdLookup(kept).row(one) for one in asked]
    assert [lookup.one(row) for row in range(4)] == [2, 9, 10, "guest-7"]
    assert lookup.dtype == IdLookup(kept).dtype == "DT_VARIANT"


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [([1, 2**31 - 1], "DT_INT32"), ([1, 2**31], "DT_INT64"), ([-(2**31) - 1, 1], "DT_INT64"), (["1"], "DT_STRING")],
)  # fmt: skip
def test_the_type_of_ids_in_files_is_that_of_ids_in_memory(tmp_path, ids, dtype):
    assert IdLookup(in_files(tmp_path, pl.Series(ids), is_sorted=True)).dtype == dtype
    assert IdLookup(Vocabulary.of(ids, noun="user")).dtype == dtype


def test_an_id_that_is_missing_is_damage_and_ids_stay_readable_when_their_folder_is_removed(tmp_path):
    with pytest.raises(DamagedModel, match="an id that is missing"):
        in_files(tmp_path, pl.Series(["a", None, "c"]), is_sorted=True)
    vocabulary = in_files(tmp_path, pl.Series(["a", "b", "c"]), is_sorted=True)
    for folder in tmp_path.glob("files-*"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    assert IdLookup(vocabulary).row("b") == 1


def test_histories_that_are_read_are_those_that_are_mapped(tmp_path, monkeypatch):
    model = make_model(1)
    loaded = load(save(model, tmp_path / "1"))
    assert HistoryFiles.of(loaded) is None, "few users"
    monkeypatch.setattr(history_files, "MANY", 3)
    assert HistoryFiles.of(model) is None, "no file"
    files = HistoryFiles.of(loaded)
    times = (
        np.ones(len(model.histories.products), np.int32)
        if model.history_times is None
        else model.history_times
    )
    for user in range(len(model.users)):
        part = slice(model.histories.offsets[user], model.histories.offsets[user + 1])
        rows, often = files.bought(user)
        assert rows.dtype == np.int32
        assert rows.flags.writeable
        assert rows.tolist() == model.histories.products[part].tolist()
        assert (often is None) == (model.history_times is None)
        assert often is None or often.tolist() == times[part].tolist()
    part = replace(loaded, histories=Histories(loaded.histories.offsets, loaded.histories.products[:-1]))
    assert HistoryFiles.of(part) is None, "a part of a file begins elsewhere"


def test_a_server_of_many_users_holds_none_of_their_ids_and_answers_as_before(tmp_path, monkeypatch):
    models = tmp_path / "models"
    save(make_model(1), models / "recommender" / "1")
    paths = [f"/api/v1/recommendations/users/u{user:03}" for user in (0, 7, 29)]
    paths += ["/api/v1/recommendations/users/nobody", "/api/page/users?search=u01"]
    paths += [f"/api/v1/users/u{user:03}/history" for user in (0, 7)]

    def answers(scratch):
        with client_of(models, scratch=scratch) as client:
            users = client.app.state.service.registry.get("recommender").model.users
            return type(users), [client.get(path).json() for path in paths]

    before = answers(None)
    assert before[0] is Vocabulary
    assert before[1][0]["source"] == "personal"
    monkeypatch.setattr(shared_pages, "FEWEST_IDS", 3)
    monkeypatch.setattr(history_files, "MANY", 3)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert answers(scratch) == (VocabularyInFiles, before[1])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_pages, "write_ids", full)
    other = tmp_path / "other"
    other.mkdir()
    assert answers(other) == before
