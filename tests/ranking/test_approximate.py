"""An approximate index: what it finds is scored exactly, what it misses is told, and it never speaks for another model."""

from __future__ import annotations

import builtins
import shutil

import numpy as np
import pytest

from tastemaker.data.synthetic.shop import make_shop
from tastemaker.errors import DamagedModel, FolderExists, ModelFolderProblem, SettingProblem
from tastemaker.model.config import preset
from tastemaker.model.folder import load, save
from tastemaker.ranking.index.approximate import Approximate, best_of
from tastemaker.ranking.index.index_folder import build_index, index_folder, load_index, read_index_manifest
from tastemaker.ranking.index.making import make_index
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.packed import pack, product_candidates
from tastemaker.ranking.rank import nearest, rank_baskets, rank_users
from tastemaker.ranking.recommend import recommend
from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, top_k
from tastemaker.training.train import train


@pytest.fixture(scope="module")
def big_model():
    shop = make_shop(users=1_600, products=3_000, purchases=16_000, seed=3)
    return train(shop.purchases, preset("default").changed({"epochs": 2, "dimensions": 16}), seed=1)


@pytest.fixture(scope="module")
def folders(big_model, tmp_path_factory):
    pytest.importorskip("faiss", reason="the extra `index` is not installed")
    folder = save(big_model, tmp_path_factory.mktemp("models") / "recommender" / "1")
    build_index(folder)
    return folder


@pytest.fixture(scope="module")
def built(big_model, folders):
    return load_index(folders, big_model)


def cloud(count=2_000, dimensions=8, seed=0):
    """Vectors and a bias, an index over them of which four cells are read, and queries."""
    pytest.importorskip("faiss", reason="the extra `index` is not installed")
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, dimensions)).astype(np.float32)
    bias = rng.exponential(1, count).astype(np.float32)
    candidates = Approximate(Candidates.of(vectors, bias), vectors, make_index(vectors, bias), 4)
    return candidates, rng.standard_normal((40, dimensions)).astype(np.float32)


def same(one: RankedLists, other: RankedLists) -> bool:
    return all(
        np.array_equal(getattr(one, part), getattr(other, part)) for part in ("offsets", "rows", "scores")
    )


def test_with_defaults_a_shop_gets_nearly_all_of_the_exact_lists(big_model, built, folders):
    users = np.arange(len(big_model.users), dtype=np.int32)
    best = rank_users(big_model, users, product_candidates(big_model), k=10)
    found = rank_users(big_model, users, built, k=10)
    shares = [len(set(a.tolist()) & set(b.tolist())) / 10 for (a, _), (b, _) in zip(best, found, strict=True)]
    assert np.mean(shares) >= 0.95
    assert (best.exact, found.exact) == (True, False)
    facts = read_index_manifest(folders)
    assert facts["recall"]["users"] >= 1_000
    assert facts["recall"]["10"] >= 0.95


def test_what_is_listed_has_its_exact_score_and_stands_in_order():
    candidates, queries = cloud()
    found = best_of(queries, candidates, 20)
    every = top_k(queries, candidates.exact, candidates.exact.count)
    assert not found.exact
    for (rows, scores), (all_rows, all_scores) in zip(found, every, strict=True):
        places = np.flatnonzero(np.isin(all_rows, rows))  # ascending: in the order of the exact ranking
        np.testing.assert_array_equal(rows, all_rows[places])
        np.testing.assert_array_equal(scores, all_scores[places])


def test_reading_every_cell_is_the_exact_ranking_with_purchases_left_out_and_extras_added():
    candidates, queries = cloud()
    rng = np.random.default_rng(1)
    rows = np.sort(rng.permuted(np.tile(np.arange(2_000, dtype=np.int32), (40, 1)), axis=1)[:, :30], axis=1)
    offsets = np.arange(41, dtype=np.int64) * 30
    exclude = Exclusions(offsets, rows.ravel())
    others = np.sort((rows + 7) % 2_000, axis=1).astype(np.int32)
    extra = ExtraScores(offsets, others.ravel(), rng.standard_normal(1_200).astype(np.float32) * 3)
    wide = Approximate(candidates.exact, candidates.vectors, candidates.index, candidates.index.nlist)
    found = best_of(queries, wide, 10, exclude=exclude, extra=extra)
    assert same(found, top_k(queries, candidates.exact, 10, exclude=exclude, extra=extra))


def test_what_the_memory_lifts_is_found_though_the_index_is_far_from_it():
    candidates, queries = cloud()
    worst = top_k(queries, candidates.exact, 2_000).rows.reshape(40, -1)[:, -1]
    extra = ExtraScores(np.arange(41), worst.copy(), np.full(40, 1e4, np.float32))
    found = best_of(queries, candidates, 5, extra=extra)
    np.testing.assert_array_equal(found.rows.reshape(40, 5)[:, 0], worst)


def test_lists_the_index_leaves_short_are_ranked_exactly():
    candidates, queries = cloud()
    cells = int(candidates.index.nlist)
    assert cells > 20  # four cells hold fewer than asked for
    found = best_of(queries, candidates, 400)
    assert found.exact
    assert same(found, top_k(queries, candidates.exact, 400))


def test_a_query_of_zeros_is_ranked_exactly_beside_others_that_are_not():
    candidates, queries = cloud()
    queries[3] = 0
    found = best_of(queries, candidates, 5)
    rows, scores = top_k(queries[3:4], candidates.exact, 5)[0]
    assert not found.exact
    np.testing.assert_array_equal(found[3][0], rows)
    np.testing.assert_array_equal(found[3][1], scores)
    assert best_of(queries[3:4], candidates, 5).exact


def test_short_codes_of_many_candidates_find_most_too_in_an_odd_number_of_dimensions():
    candidates, queries = cloud(count=12_000, dimensions=7)
    wide = Approximate(candidates.exact, candidates.vectors, candidates.index, candidates.index.nlist, 64)
    best, found = top_k(queries, wide.exact, 10), best_of(queries, wide, 10)
    shares = [np.isin(a, b).mean() for (a, _), (b, _) in zip(best, found, strict=True)]
    assert not found.exact
    assert np.mean(shares) > 0.9


def test_exact_candidates_go_through_the_same_function_unchanged():
    rng = np.random.default_rng(0)
    candidates = Candidates.of(rng.standard_normal((50, 4)).astype(np.float32))
    queries = rng.standard_normal((3, 4)).astype(np.float32)
    found = best_of(queries, candidates, 5)
    assert found.exact
    assert same(found, top_k(queries, candidates, 5))


def test_lists_put_together_are_exact_only_where_all_are():
    candidates, queries = cloud()
    exact, found = top_k(queries, candidates.exact, 5), best_of(queries, candidates, 5)
    assert RankedLists.joined([exact, exact]).exact
    assert not RankedLists.joined([exact, found]).exact


def test_neighbours_by_dot_leave_the_bias_out(big_model, built):
    vectors = np.ascontiguousarray(big_model.product_vectors)
    products = np.arange(200, dtype=np.int32)
    best = nearest((vectors, Candidates.of(vectors)), products, k=10)
    found = nearest((vectors, built.by_dot()), products, k=10)
    shares = [np.isin(a, b).mean() for (a, _), (b, _) in zip(best, found, strict=True)]
    assert not found.exact
    assert np.mean(shares) > 0.8


def test_an_empty_basket_gets_the_exact_best_sellers(big_model, built):
    basket = [np.zeros(0, np.int32)]
    assert same(
        rank_baskets(big_model, basket, built, k=10),
        rank_baskets(big_model, basket, product_candidates(big_model), k=10),
    )


def test_an_index_comes_back_from_its_folder_and_answers_like_one_made_here(folders, built):
    model = load(folders)
    vectors = np.asarray(model.product_vectors)
    own = make_index(vectors, np.asarray(model.product_bias), threads=2)
    made = Approximate(product_candidates(model), vectors, own, built.probes, built.over)
    users = model.users.ids[:100]
    assert same(
        recommend(pack(model, candidates=built), users).lists,
        recommend(pack(model, candidates=made), users).lists,
    )
    assert read_index_manifest(folders)["library"]["name"] == "faiss-cpu"


def test_an_index_of_another_model_is_refused(folders, workshop_model, tmp_path):
    other = save(workshop_model, tmp_path / "1")
    shutil.copytree(index_folder(folders), index_folder(other))
    with pytest.raises(ModelFolderProblem, match="the index of another model"):
        load_index(other, load(other))


def test_an_index_that_was_changed_is_refused(folders, tmp_path):
    copy = tmp_path / "1"
    shutil.copytree(folders, copy)
    shutil.copytree(index_folder(folders), index_folder(copy))
    file = index_folder(copy) / "index.faiss"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedModel, match="is not the file that was written"):
        load_index(copy, load(copy))
    (index_folder(copy) / "manifest.json").write_text("{}")
    with pytest.raises(DamagedModel, match="is not an index's manifest"):
        load_index(copy, load(copy))


def test_a_model_without_an_index_names_the_command_that_builds_one(model_folder):
    with pytest.raises(ModelFolderProblem, match="tastemaker index"):
        load_index(model_folder, load(model_folder))


def test_an_index_never_overwrites_another(folders):
    with pytest.raises(FolderExists, match="remove it"):
        build_index(folders)


def test_without_the_library_one_sentence_names_the_extra(model_folder, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingProblem, match=r"tastemaker\[index\]"):
        build_index(model_folder)
