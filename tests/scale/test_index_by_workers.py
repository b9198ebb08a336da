"""An approximate index made in parts: the same bytes and the same measures, whoever makes the parts, and however many."""

from __future__ import annotations

import shutil
from hashlib import sha256

import numpy as np
import polars as pl
import pytest
from odd_workers import Deadly

import tastemaker as tm
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import WorkersLost
from tastemaker.model.record import TrainingRecord
from tastemaker.ranking.index import by_workers
from tastemaker.ranking.index.index_folder import build_index, index_folder
from tastemaker.ranking.index.making import Points, learn_cells, make_part, put_together
from tastemaker.scale.executor import Tally
from tastemaker.scale.local import Processes, ThisProcess

faiss = pytest.importorskip("faiss", reason="the extra `index` is not installed")

USERS, PRODUCTS = 600, 12_000


@pytest.fixture
def folder(tmp_path):
    """A model of so many products that the index keeps short codes."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((PRODUCTS, 6), dtype=np.float32)
    bought = np.sort(rng.permuted(np.tile(np.arange(PRODUCTS, dtype=np.int32), (USERS, 1)), axis=1)[:, :3])
    model = tm.TasteModel(
        users=Vocabulary(pl.Series("id", np.arange(USERS)), "user"),
        products=Vocabulary(pl.Series("id", np.arange(PRODUCTS)), "product"),
        histories=Histories(np.arange(USERS + 1, dtype=np.int64) * 3, bought.ravel()),
        product_vectors=vectors,
        product_bias=rng.exponential(1, PRODUCTS).astype(np.float32),
        user_vectors=None,
        basket_vectors=vectors,
        memory=None,
        record=TrainingRecord(
            tm.preset("default").changed({"dimensions": 6}), 0, "0" * 64, 3 * USERS, (), {}
        ),
    )
    return tm.save(model, tmp_path / "models" / "1")


def built(folder, executor, tally=None):
    """Return the digest of an index, and what was measured of it."""
    facts = build_index(folder, wanted=0.9, executor=executor, tally=tally)
    made = index_folder(folder)
    digest = sha256((made / "index.faiss").read_bytes()).hexdigest()
    assert {file.name for file in made.iterdir()} == {"index.faiss", "manifest.json"}
    shutil.rmtree(made)
    return digest, facts["parameters"], facts["recall"]


def test_threads_and_processes_build_the_same_index_and_a_killed_one_is_made_up_for(
    folder, monkeypatch, tmp_path
):
    monkeypatch.setattr(by_workers, "PRODUCTS_A_PART", 5_000)
    monkeypatch.setattr(by_workers, "AT_ONCE", 200)
    here = built(folder, ThisProcess(1))
    assert here[1]["probes"] > 1
    for threads in (2, 8):
        assert built(folder, ThisProcess(threads)) == here
    for processes in (1, 4):
        assert built(folder, Processes(processes)) == here
    tally = Tally()
    assert built(folder, Deadly(Processes(2), str(tmp_path)), tally) == here
    assert {mark.name for mark in tmp_path.glob("killed-*")} == {
        "killed-part", "killed-lists-10", "killed-lists-100",
    }  # fmt: skip
    assert tally.lost >= 3


@pytest.mark.parametrize("count", [3_000, 11_000])
def test_parts_put_together_are_the_index_of_all(count):
    rng = np.random.default_rng(1)
    points = Points.of(rng.standard_normal((count, 5)).astype(np.float32), np.zeros(count, np.float32))
    learned = learn_cells(points, 0)
    whole = put_together(learned, [make_part(points, learned, 0, count, 1)])
    parts = [make_part(points, learned, low, min(low + 2_500, count), 2) for low in range(0, count, 2_500)]
    assert np.array_equal(faiss.serialize_index(whole), faiss.serialize_index(put_together(learned, parts)))
    reference = faiss.deserialize_index(learned)
    reference.add(points.at(slice(None)))
    queries = points.at(slice(0, 50))
    asked = faiss.SearchParametersIVF(nprobe=8)
    found, wanted = whole.search(queries, 40, params=asked)[1], reference.search(queries, 10, params=asked)[1]
    assert np.mean([np.isin(b, a).mean() for a, b in zip(found, wanted, strict=True)]) > 0.95


def test_when_the_workers_are_lost_nothing_of_an_index_is_left(folder):
    class Lost(ThisProcess):
        def run(self, work, tasks, *, on_done=lambda _: None):
            raise WorkersLost("the head was lost.")

    with pytest.raises(WorkersLost):
        build_index(folder, executor=Lost())
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
