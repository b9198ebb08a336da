"""A model in other systems' forms: the lists that they make are ours."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.errors import SettingProblem
from tastemaker.model.folder import save
from tastemaker.ranking.export.onnx_form import to_onnx
from tastemaker.ranking.export.tensorflow_form import to_tensorflow
from tastemaker.ranking.export.vectors import to_faiss, to_parquet

SHOP = {"users": 200, "products": 90, "purchases": 3_000, "seed": 5}
PLAIN = {
    "memory.count_weight": 0.0,
    "memory.ridge_weight": 0.0,
    "memory.spectral_weight": 0.0,
    "memory.directed_weight": 0.0,
}


def learned(kind):
    log = tm.make_shop(**SHOP).purchases
    if kind == "texts":
        frame = log.to_frame().with_columns(product_id="p" + pl.col("product_id").cast(pl.String))
        log = tm.read_purchases(frame.drop("time"))
    if kind == "workshop":
        return tm.train(log, "workshop", epochs=1, dimensions=8, progress=False)
    if kind == "counted":
        return tm.co_purchase(log)
    settings = {
        "taste.dimensions": 8,
        "taste.epochs": 2,
        **(PLAIN if kind == "vectors" else {"memory.count_weight": 2.0}),
    }
    return tm.train(log, tm.preset("default", effort="quick").changed(settings), progress=False)


@pytest.fixture(scope="module", params=["vectors", "memory", "texts", "workshop", "counted"])
def model(request):
    return learned(request.param)


@pytest.fixture(scope="module")
def vectors():
    return learned("vectors")


# ONNX ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graphs(model, tmp_path_factory):
    pytest.importorskip("onnx", reason="pip install 'tastemaker[onnx]'")
    runtime = pytest.importorskip("onnxruntime", reason="pip install 'tastemaker[onnx]'")
    folder = tmp_path_factory.mktemp("onnx") / "out"
    return {path.stem: runtime.InferenceSession(str(path)) for path in to_onnx(model, folder)}


def answered(session, name, id, k):
    given = np.array([id], object if isinstance(id, str) else np.int64)
    ids, scores = session.run(None, {name: given, "k": np.array([k], np.int64)})
    return ids.tolist(), scores


def test_a_users_list_of_onnx_is_ours(model, graphs):
    users = model.users.ids.to_list()[::9]
    ours = tm.recommend(model, users, k=12)
    for place, user in enumerate(users):
        ids, scores = answered(graphs["recommend_user"], "user", user, 12)
        assert ids == [product for product, _ in ours.of(place)]
        np.testing.assert_allclose(scores, [score for _, score in ours.of(place)], rtol=1e-4, atol=1e-5)


def test_somebody_unknown_gets_what_an_empty_basket_gets(model, graphs):
    wanted = [product for product, _ in tm.recommend_baskets(model, [[]], k=7).of(0)]
    assert answered(graphs["recommend_user"], "user", "never seen", 7)[0] == wanted


def test_a_list_never_holds_what_was_bought_and_is_shorter_rather_than_padded(model, graphs):
    user = model.users.ids[int(np.argmax(np.diff(model.histories.offsets)))]
    ids, scores = answered(graphs["recommend_user"], "user", user, 10_000)
    bought = set(model.products.at(model.histories.of(int(model.users.rows([user])[0]))).to_list())
    assert set(ids) == set(model.products.ids.to_list()) - bought
    assert np.isfinite(scores).all()


def test_neighbours_of_onnx_are_ours(model, graphs):
    if not model.dimensions:
        pytest.skip("without vectors there is no nearness")
    for product in model.products.ids.to_list()[::11]:
        ids, _ = answered(graphs["call_item_item"], "item", product, 9)
        assert ids == [one for one, _ in tm.similar(model, [product], k=9, include_self=True).of(0)]


def test_an_unknown_product_has_no_neighbours(model, graphs):
    unknown = "nothing" if model.products.ids.dtype == pl.String else -5
    assert answered(graphs["call_item_item"], "item", unknown, 9)[0] == []


# TensorFlow ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signatures(model, tmp_path_factory):
    """What TensorFlow's own loader makes of the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensorflow = pytest.importorskip("tensorflow", reason="pip install 'tastemaker[tensorflow]'")
        folder = to_tensorflow(model, tmp_path_factory.mktemp("tensorflow") / "1")
        loaded = tensorflow.saved_model.load(str(folder))

    def ask(signature, name, id, k):
        kind = tensorflow.string if isinstance(id, str) else tensorflow.int64
        given = {name: tensorflow.constant([id], kind), "k": tensorflow.constant([k])}
        found = loaded.signatures[signature](**given)
        ids = [
            one.decode() if isinstance(one, bytes) else one for one in found["product_ids"].numpy().tolist()
        ]
        return ids, found["scores"].numpy()

    return ask


def test_a_users_list_of_tensorflow_is_ours(model, signatures):
    users = model.users.ids.to_list()[::9]
    ours = tm.recommend(model, users, k=12)
    for place, user in enumerate(users):
        ids, scores = signatures("recommend_user", "user", user, 12)
        assert ids == [product for product, _ in ours.of(place)]
        np.testing.assert_allclose(scores, [score for _, score in ours.of(place)], rtol=1e-4, atol=1e-5)


def test_strangers_and_short_lists_of_tensorflow_are_ours(model, signatures):
    wanted = [product for product, _ in tm.recommend_baskets(model, [[]], k=7).of(0)]
    assert signatures("recommend_user", "user", "never seen", 7)[0] == wanted
    user = model.users.ids[int(np.argmax(np.diff(model.histories.offsets)))]
    bought = set(model.products.at(model.histories.of(int(model.users.rows([user])[0]))).to_list())
    ids, scores = signatures("recommend_user", "user", user, 10_000)
    assert set(ids) == set(model.products.ids.to_list()) - bought
    assert np.isfinite(scores).all()


def test_neighbours_of_tensorflow_are_ours(model, signatures):
    unknown = "nothing" if model.products.ids.dtype == pl.String else -5
    assert signatures("call_item_item", "item", unknown, 9)[0] == []
    if not model.dimensions:
        pytest.skip("without vectors there is no nearness")
    for product in model.products.ids.to_list()[::11]:
        ids, _ = signatures("call_item_item", "item", product, 9)
        assert ids == [one for one, _ in tm.similar(model, [product], k=9, include_self=True).of(0)]


# Vectors ------------------------------------------------------------------------------------------------------


def test_lists_from_a_faiss_index_are_ours_where_there_is_no_memory(vectors, tmp_path):
    faiss = pytest.importorskip("faiss", reason="pip install 'tastemaker[index]'")
    assert to_faiss(vectors, tmp_path / "out") == {"products": 90, "users": len(vectors.users)}
    index = faiss.read_index(str(tmp_path / "out" / "products.faiss"))
    products = pl.read_parquet(tmp_path / "out" / "products.parquet")
    users = pl.read_parquet(tmp_path / "out" / "users.parquet")
    scores, rows = index.search(np.ascontiguousarray(users["vector"].to_numpy()), 10)
    ours = tm.recommend(vectors, users["user_id"], k=10, include_purchased=True)
    for place in range(len(users)):
        wanted = ours.of(place)
        np.testing.assert_allclose(scores[place], [score for _, score in wanted], rtol=1e-4, atol=1e-5)
        assert products["product_id"][rows[place].tolist()].to_list() == [product for product, _ in wanted]


def test_parquet_files_hold_every_id_and_are_written_again(vectors, tmp_path):
    for _ in range(2):
        assert to_parquet(vectors, tmp_path / "out")["products"] == 90
    frame = pl.read_parquet(tmp_path / "out" / "products.parquet")
    assert frame["product_id"].to_list() == vectors.products.ids.to_list()
    np.testing.assert_array_equal(frame["vector"].to_numpy()[:, -1], vectors.product_bias)


@pytest.mark.parametrize("module", ["onnx", "faiss", "tensorflow"])
def test_a_library_that_is_missing_is_one_sentence_with_the_command(vectors, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        SettingProblem,
        match=r"which is not installed; pip install 'tastemaker\[(onnx|index|tensorflow)\]' brings it\.",
    ):
        {"onnx": to_onnx, "faiss": to_faiss, "tensorflow": to_tensorflow}[module](vectors, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_each_form_and_says_what_vectors_lack(tastemaker, tmp_path):
    for module, extra in {"onnx": "onnx", "faiss": "index"}.items():
        pytest.importorskip(module, reason=f"pip install 'tastemaker[{extra}]'")
    save(learned("memory"), tmp_path / "model")
    for form in ("parquet", "faiss", "onnx"):
        ran = tastemaker("export", tmp_path / "model", "--to", form, "--out", tmp_path / form, "--json")
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["to"] == form
    ran = tastemaker("export", tmp_path / "model", "--vectors", "--out", tmp_path / "both")
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in (tmp_path / "both").iterdir()} == {
        "products.faiss",
        "products.parquet",
        "users.parquet",
    }
    for form in ([], ["--vectors", "--to", "faiss"]):
        ran = tastemaker("export", tmp_path / "model", *form, "--out", tmp_path / "neither")
        assert (ran.returncode, "with --to FORM, or with --vectors" in ran.stderr) == (1, True)
    ran = tastemaker("export", tmp_path / "model", "--vectors", "--out", "sqlite:///x.db#t")
    assert (ran.returncode, "is an extension of PostgreSQL" in ran.stderr) == (1, True)
    ran = tastemaker("export", tmp_path / "model", "--to", "parquet", "--out", tmp_path / "parquet")
    assert "which no vector holds" in ran.stderr
    ran = tastemaker("export", tmp_path / "model", "--to", "onnx", "--out", tmp_path / "onnx")
    assert (ran.returncode, "never overwrites" in ran.stderr) == (1, True)
    ran = tastemaker("export", tmp_path / "model", "--to", "pgvector", "--out", tmp_path / "x")
    assert (ran.returncode, "is a database, such as" in ran.stderr) == (1, True)
    ran = tastemaker("export", tmp_path / "model", "--to", "pgvector", "--out", "sqlite:///x.db#t")
    assert (ran.returncode, "is an extension of PostgreSQL" in ran.stderr) == (1, True)
