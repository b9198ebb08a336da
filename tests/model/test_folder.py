"""The model folder: what goes in comes out to the bit, and whatever is wrong with it is said."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tastemaker.data.events import Events
from tastemaker.data.purchases import Histories
from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import DamagedModel, FolderExists, ModelFolderProblem, NewerFormat
from tastemaker.model.folder import load, read_manifest, save
from tastemaker.model.manifest import MANIFEST, SEAL, seal
from tastemaker.model.record import Epoch, TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.training.baselines.best_sellers import best_sellers

ARRAYS = ["product_vectors", "product_bias", "user_vectors", "basket_vectors", "history_times", "repeat_bias"]
NUMBERS = ["damping", "memory_damping", "repeat_weight"]


def same(first, second):
    """Whether two models are equal to the bit, ids and record too."""
    pairs = [(getattr(first, name), getattr(second, name)) for name in ARRAYS]
    for name in ("offsets", "products"):
        pairs.append((getattr(first.histories, name), getattr(second.histories, name)))
    if first.memory is not None:
        for name in ("offsets", "products", "weights"):
            pairs.append((getattr(first.memory, name), getattr(second.memory, name)))
    for mine, theirs in pairs:
        if mine is None or theirs is None:
            assert mine is theirs
        else:
            assert (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
    for mine, theirs in ((first.users, second.users), (first.products, second.products)):
        assert mine.ids.equals(theirs.ids, check_dtypes=True)
        assert (mine.noun, mine.form, mine.is_sorted) == (theirs.noun, theirs.form, theirs.is_sorted)
    assert (first.memory is None) == (second.memory is None)
    assert first.record == second.record
    assert [getattr(first, name) for name in NUMBERS] == [getattr(second, name) for name in NUMBERS]


@pytest.fixture
def copied(model_folder, tmp_path):
    """A copy of the model's folder, to be damaged."""
    return shutil.copytree(model_folder, tmp_path / "copied")


def rewrite(folder, change, *, seal=True):
    """Change the manifest, and its own checksum with it, as a writer with a fault would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    change(manifest)
    facts = json.dumps(manifest, sort_keys=True).encode()
    manifest["sha256"] = hashlib.sha256(facts).hexdigest() if seal else "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


# Writing and reading ----------------------------------------------------------------------------------------


def test_a_model_comes_back_to_the_bit(workshop_model, model_folder):
    same(workshop_model, load(model_folder))
    same(workshop_model, load(model_folder, verify=False))


def test_a_model_with_every_part_comes_back_to_the_bit(workshop_model, tmp_path):
    model, rng = workshop_model, np.random.default_rng(0)
    memory = Memory(np.arange(151), rng.integers(0, 150, 150).astype(np.int32), rng.random(150, np.float32))
    record = TrainingRecord(
        None, 2**63 - 1, "äöü", 7, (Epoch(1, 0.1, 0.2, None, 0.3, 4.0),), {"chosen": {"weight": 2.5}}, True
    )
    whole = TasteModel(
        users=model.users,
        products=model.products,
        histories=model.histories,
        product_vectors=np.asfortranarray(model.product_vectors),
        product_bias=model.product_bias,
        user_vectors=None,
        basket_vectors=rng.random((150, 12), np.float32),
        memory=memory,
        record=record,
        damping=0.25,
        memory_damping=0.75,
        history_times=rng.integers(1, 9, len(model.histories.products)).astype(np.int32),
        repeat_weight=3.5,
        repeat_bias=rng.random(150, np.float32),
    )
    same(whole, load(save(whole, tmp_path / "1")))


def test_a_folder_from_before_repeats_loads_as_bought_once(workshop_model, copied):
    def older(manifest):
        del manifest["basket"]["repeat_weight"]
        for name in [name for name in manifest["config"] if name.startswith("repeat_")]:
            del manifest["config"][name]

    assert {"history_times.npy", "repeat_bias.npy"}.isdisjoint(os.listdir(copied))
    rewrite(copied, older)
    model = load(copied)
    same(workshop_model, model)
    assert (model.history_times, model.repeat_weight, model.repeat_bias) == (None, 0.0, None)


IDS = {
    "text": ["ü", "a b", "'; drop table", "日本"],
    "int8": pl.Series([-1, 5, 3, 0], dtype=pl.Int8),
    "int32": pl.Series([7, -8, 2**31 - 1, 0], dtype=pl.Int32),
    "uint64": pl.Series([2**64 - 1, 0, 5, 9], dtype=pl.UInt64),
    "uuid bytes": [uuid.UUID(int=2**127 + n * 2**90).bytes for n in (5, 3, 8, 1)],
}


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("with_catalogue", [False, True])
def test_ids_come_back_as_they_went_in(kind, with_catalogue, tmp_path):
    ids = pl.Series("id", IDS[kind])
    log = pl.DataFrame({"user_id": ids, "product_id": ids})
    catalogue = ids.rename("user_id").to_frame() if with_catalogue else None
    model = best_sellers(read_purchases(log, users=catalogue))
    loaded = load(save(model, tmp_path / "model"))
    same(model, loaded)
    assert loaded.users.rows(ids).tolist() == model.users.rows(ids).tolist()
    assert loaded.users.original(loaded.users.at(loaded.users.rows(ids))).to_list() == ids.to_list()


def test_a_model_without_dimensions_comes_back(shop, tmp_path):
    model = best_sellers(shop.purchases)
    same(model, load(save(model, tmp_path / "best")))


def test_arrays_are_mapped_from_the_file_and_writing_to_them_changes_no_file(model_folder):
    model = load(model_folder)
    for array in (model.product_vectors, model.user_vectors, model.histories.products):
        assert isinstance(array, np.memmap)
        array[0] += 1
    assert not np.array_equal(model.product_vectors, load(model_folder).product_vectors)


def test_kernels_that_ranked_a_model_rank_it_from_its_folder_without_compiling_again(python, tmp_path):
    code = """
import sys
import tastemaker as tm
from tastemaker.kernels.compiling import on_compile
from tastemaker.kernels.ranking import topk

shop = tm.make_shop(users=60, products=30, purchases=400)
model = tm.train(shop.purchases, epochs=1, dimensions=4, progress=False)
tm.recommend(model, "c-000002"), tm.evaluate(model, shop.purchases)
before = len(topk.rank.signatures)
loaded = tm.load(tm.save(model, sys.argv[1]))
tm.recommend(loaded, "c-000002"), tm.evaluate(loaded, shop.purchases)
print(before, len(topk.rank.signatures))
"""
    before, after = python(code, tmp_path / "model" / "1").stdout.split()
    assert before == after


def test_the_manifest_says_what_the_folder_holds(workshop_model, split, model_folder):
    manifest = read_manifest(model_folder)
    assert manifest["format"] == 1
    assert (manifest["name"], manifest["version"]) == ("recommender", 3)
    assert (manifest["seed"], manifest["interrupted"]) == (5, False)
    assert manifest["counts"] == {"users": 400, "products": 150, "purchases": len(split.train)}
    assert manifest["config"]["preset"] == "workshop"
    assert manifest["data_fingerprint"] == split.train.fingerprint()
    assert set(manifest["packages"]) >= {"python", "tastemaker", "numpy", "numba", "polars"}
    assert "created" in manifest
    on_disk = {path.name for path in model_folder.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == on_disk
    for name, facts in manifest["files"].items():
        content = (model_folder / name).read_bytes()
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    ("where", "name", "version"), [("shoes/12", "shoes", 12), ("shoes/0", "0", 1), ("plain", "plain", 1)]
)
def test_a_folder_that_is_a_number_is_a_version(workshop_model, tmp_path, where, name, version):
    manifest = read_manifest(save(workshop_model, tmp_path / where))
    assert (manifest["name"], manifest["version"]) == (name, version)


def test_nothing_in_the_folder_is_a_pickle(model_folder):
    for path in model_folder.glob("*.npy"):
        np.load(path, allow_pickle=False)
    assert {path.suffix for path in model_folder.iterdir()} == {".npy", ".arrow", ".json"}


def test_the_same_model_makes_the_same_files(workshop_model, model_folder, tmp_path):
    again = save(workshop_model, tmp_path / "again")
    assert read_manifest(again)["files"] == read_manifest(model_folder)["files"]


# Folders that cannot be read --------------------------------------------------------------------------------


def test_every_flipped_byte_is_noticed(model_folder, copied):
    rng = np.random.default_rng(0)
    for path in sorted(copied.iterdir()):
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1, *rng.integers(0, len(whole), 5)):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << rng.integers(0, 8)
            path.write_bytes(flipped)
            if path.name == MANIFEST and _facts(flipped) == _facts(whole):  # the same seconds in other digits
                load(copied)
                continue
            with pytest.raises((DamagedModel, NewerFormat), match=r"copied"):
                load(copied)
        path.write_bytes(whole)
    load(copied)


def _facts(manifest: bytes | bytearray) -> object:
    try:
        return json.loads(manifest)
    except ValueError:
        return manifest


@pytest.mark.parametrize(
    ("digits", "same"), [("0.10000000000000001", True), ("1E-1", True), ("0.10000000000000002", False)]
)
def test_a_manifest_is_sealed_by_its_facts_not_by_the_digits_that_write_them(copied, digits, same):
    manifest = read_manifest(copied)
    manifest["metrics"] = {"marked": 0.1}
    whole = json.dumps(manifest | {SEAL: seal(manifest)}, indent=2)
    assert whole.count('"marked": 0.1') == 1
    (copied / MANIFEST).write_text(whole.replace('"marked": 0.1', f'"marked": {digits}'))
    if same:
        assert read_manifest(copied)["metrics"] == {"marked": 0.1}
    else:
        with pytest.raises(DamagedModel, match="not the manifest that was written"):
            read_manifest(copied)


def test_every_missing_file_is_named(copied):
    for path in sorted(copied.iterdir()):
        moved = path.rename(copied.parent / "elsewhere")
        with pytest.raises(DamagedModel, match=path.name):
            load(copied)
        moved.rename(path)
    load(copied)


def test_every_truncated_file_is_noticed_even_without_verifying(copied):
    for path in sorted(copied.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(DamagedModel):
            load(copied, verify=False)
        path.write_bytes(whole)


def test_a_newer_format_is_refused_by_its_number(copied):
    rewrite(copied, lambda manifest: manifest.update(format=2, files="in some new way"))
    with pytest.raises(NewerFormat, match="has format 2, and this tastemaker reads up to format 1; upgrade"):
        load(copied)


@pytest.mark.parametrize(
    "text",
    ["", "{", "hello", "[]", "7", "null", "{}", '{"format": null}', '{"format": "one"}', '{"format": []}',
     '{"format": 1}', '{"format": 1e999}', '{"format": 0}', '{"format": 1, "files": []}', "\xff\xfe"],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(copied, text):
    (copied / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedModel, match="copied"):
        load(copied)


def test_a_manifest_that_is_a_folder_is_refused(copied):
    (copied / "manifest.json").unlink()
    (copied / "manifest.json").mkdir()
    with pytest.raises(DamagedModel):
        load(copied)


KEYS = [
    "format",
    "config",
    "seed",
    "data_fingerprint",
    "counts",
    "epochs",
    "interrupted",
    "metrics",
    "ids",
    "files",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_manifest_without_one_of_its_keys_is_refused(copied, key):
    rewrite(copied, lambda manifest: manifest.pop(key))
    with pytest.raises(DamagedModel, match="copied"):
        load(copied)


@pytest.mark.parametrize("key", ["files", "ids", "counts", "epochs", "config"])
@pytest.mark.parametrize("value", [[1], 7, "x", {"a": 1}, {"a": {"bytes": 1}}])
def test_a_manifest_with_values_of_a_wrong_type_is_refused(copied, key, value):
    rewrite(copied, lambda manifest: manifest.update({key: value}))
    with pytest.raises(DamagedModel, match="copied"):
        load(copied)


def test_a_manifest_that_was_written_over_is_refused(copied):
    rewrite(copied, lambda manifest: None)
    load(copied)
    rewrite(copied, lambda manifest: manifest["files"].pop("user_vectors.npy"), seal=False)
    with pytest.raises(DamagedModel, match=r"manifest\.json is not the manifest that was written"):
        load(copied)


def test_settings_that_cannot_work_are_damage(copied):
    rewrite(copied, lambda manifest: manifest["config"].update(dimensions=0))
    with pytest.raises(DamagedModel, match="dimensions is 0"):
        load(copied)


def test_arrays_of_another_model_are_damage(copied):
    np.save(copied / "product_bias.npy", np.zeros(7, np.float32))
    content = (copied / "product_bias.npy").read_bytes()
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite(copied, lambda manifest: manifest["files"].update({"product_bias.npy": facts}))
    with pytest.raises(
        DamagedModel, match=r"product_bias.npy holds float32\[7\]; this model needs float32\[P\] with P = 150"
    ):
        load(copied)


def test_what_is_no_model_folder_is_refused(tmp_path):
    with pytest.raises(ModelFolderProblem, match="does not exist; give the folder that `tastemaker train"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelFolderProblem, match="is a file"):
        load(tmp_path / "file")
    with pytest.raises(DamagedModel, match=r"has no manifest\.json"):
        load(tmp_path)


# Folders that cannot be written -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_exists_is_never_overwritten(workshop_model, tmp_path, kind):
    target = tmp_path / "model"
    {
        "folder": target.mkdir,
        "file": lambda: target.write_text("precious"),
        "dangling link": lambda: target.symlink_to(tmp_path / "nowhere"),
    }[kind]()
    with pytest.raises(FolderExists, match="exists already; a model never overwrites another"):
        save(workshop_model, target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert kind != "file" or target.read_text() == "precious"


def test_a_folder_below_a_file_cannot_be_written(workshop_model, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ModelFolderProblem, match=r"cannot write to .*file.*choose another folder"):
        save(workshop_model, tmp_path / "file" / "models" / "1")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_below_a_read_only_one_cannot_be_written(workshop_model, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(ModelFolderProblem, match="cannot write to"):
        save(workshop_model, closed / "1")


def test_a_model_whose_parts_do_not_fit_is_refused(workshop_model):
    from tastemaker.errors import SettingProblem

    model = workshop_model
    with pytest.raises(SettingProblem, match=r"product_bias has the shape \(3,\); .* need \(150,\)"):
        TasteModel(
            users=model.users,
            products=model.products,
            histories=Histories(model.histories.offsets, model.histories.products),
            product_vectors=model.product_vectors,
            product_bias=np.zeros(3, np.float32),
            user_vectors=None,
            basket_vectors=None,
            memory=None,
            record=model.record,
        )


def test_the_dated_past_comes_back_with_its_kinds(tmp_path):
    frame = pl.DataFrame(
        {
            "user": ["b", "a", "b"],
            "product": ["x", "y", "y"],
            "date": ["2024-01-02", "2024-01-01", "2024-01-01"],
        }
    )
    log = read_purchases(frame)
    events = Events(np.int32([0]), np.int32([1]), np.int16([0]), ("view",), np.int64([7]))
    model = best_sellers(replace(log, events=events))
    past = load(save(model, tmp_path / "model")).past
    assert past.names == ("purchase", "view")
    for name in ("offsets", "products", "times", "kinds"):
        assert getattr(past, name).tobytes() == getattr(model.past, name).tobytes()
    assert past.kinds.tolist() == [1, 0, 0, 0]


def test_a_model_of_a_log_without_times_has_no_files_of_a_past(tmp_path):
    model = best_sellers(read_purchases(pl.DataFrame({"user": [1], "product": ["x"]})))
    manifest = read_manifest(save(model, tmp_path / "model"))
    assert not [name for name in (*manifest, *manifest["files"]) if name.startswith("past")]
    assert load(tmp_path / "model").past is None
