"""Folders whose checksums are right and whose content is hostile: refused in a sentence, or ranked as NumPy ranks them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from hostile_folders import attack, everything, reseal

import tastemaker as tm
from beside_worlds import log_of
from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.tokens.bags import Bags
from tastemaker.data.tokens.columns import TokenColumns
from tastemaker.data.tokens.encoders import Encoder
from tastemaker.errors import DamagedModel
from tastemaker.model.beside.live import FoldIn, Live
from tastemaker.model.beside.order import Fading, Kinds, Order
from tastemaker.model.beside.tokens import Tokens
from tastemaker.model.folder import load, save
from tastemaker.model.layout import PARTS
from tastemaker.model.taste_model import Memory, TasteModel


def beside(rng, users, products, dimensions):
    """Every part that stands beside pairs."""

    def bags(count, tokens):
        return Bags(
            np.arange(count + 1), rng.integers(0, tokens, count).astype(np.int32), np.ones(count, np.float32)
        )

    def square():
        return rng.random((dimensions, dimensions), np.float32)

    colour = Encoder(column="colour", form="category", values=("red", "blue"))
    rows = np.arange(products + 1)
    return {
        "tokens": Tokens(
            TokenColumns((colour,), 0),
            TokenColumns((dataclasses.replace(colour, column="country"),), 2),
            TokenColumns((dataclasses.replace(colour, column="shape"),), 4),
            rng.random((6, dimensions), np.float32),
            bags(users, 6),
            bags(products, 6),
        ),
        "order": Order(Fading(2.0, 30.0), Fading(1.0, 0.0), 7),
        "kinds": Kinds(
            ("view",), (3.0,), (0.5,), Fading(2.0),
            Memory(rows.astype(np.int64), rows[:-1].astype(np.int32), rng.random(products, np.float32)),
        ),
        "live": Live(
            30.0, 1.0, 40.0, 0.2,
            FoldIn(square(), square(), *rng.random((2, dimensions), np.float32), rng.random(products, np.float32)),
        ),
    }  # fmt: skip


@pytest.fixture(scope="session")
def pairs_model(workshop_model):
    """A model with every part that says something of pairs, but vectors of users."""
    model, rng = workshop_model, np.random.default_rng(0)
    offsets = np.arange(151, dtype=np.int64) * 2
    rows = np.sort(rng.permuted(np.tile(np.arange(150, dtype=np.int32), (150, 1)), axis=1)[:, :2], axis=1)
    return TasteModel(
        users=model.users,
        products=model.products,
        histories=Histories(model.histories.offsets, model.histories.products),
        product_vectors=model.product_vectors,
        product_bias=rng.random(150, np.float32),
        user_vectors=None,
        basket_vectors=rng.random((150, 12), np.float32),
        memory=Memory(offsets, rows.ravel().astype(np.int32), rng.random(300, np.float32)),
        record=model.record,
        history_times=rng.integers(1, 9, len(model.histories.products)).astype(np.int32),
        repeat_weight=0.5,
        repeat_bias=rng.random(150, np.float32),
        past=Past(
            model.past.offsets,
            model.past.products,
            model.past.times,
            rng.integers(0, 2, len(model.past)).astype(np.int16),
            ("purchase", "view"),
            rng.normal(size=len(model.past)).astype(np.float32),
        ),
        product_values=rng.random(150, np.float32) + 1,
    )


@pytest.fixture(scope="session")
def pairs_folder(pairs_model, tmp_path_factory):
    return save(pairs_model, tmp_path_factory.mktemp("pairs") / "1")


@pytest.fixture(scope="session")
def whole_folder(pairs_model, tmp_path_factory):
    """A folder with every part that a model may have, but vectors of users."""
    parts = beside(np.random.default_rng(1), len(pairs_model.users), 150, 12)
    return save(dataclasses.replace(pairs_model, **parts), tmp_path_factory.mktemp("whole") / "1")


@pytest.fixture
def copied(whole_folder, tmp_path):
    return shutil.copytree(whole_folder, tmp_path / "copied")


def rewritten(folder, name, change):
    path = folder / f"{name}.npy"
    np.save(path, change(np.load(path)))
    reseal(folder)


def first_set(value):
    def change(array):
        array.reshape(-1)[0] = value
        return array

    return change


def test_every_part_that_is_written_is_declared(whole_folder):
    declared = {f"{part.name}.npy" for part in PARTS}
    written = {path.name for path in whole_folder.glob("*.npy")}
    assert written <= declared
    assert declared - written == {"user_vectors.npy"}


@pytest.mark.parametrize(
    "part", [part.name for part in PARTS if part.rule == "finite" and part.name != "user_vectors"]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -np.nan])
def test_a_number_that_is_not_finite_is_refused(copied, part, value):
    rewritten(copied, part, first_set(value))
    with pytest.raises(DamagedModel, match=rf"{part}\.npy holds a number that is not finite"):
        load(copied)


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e-45, -0.0])
def test_the_greatest_and_least_finite_numbers_are_numbers(copied, value):
    rewritten(copied, "product_bias", first_set(value))
    load(copied)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_great_number_hides_no_number_that_is_not_finite(copied, value):
    def change(array):
        flat = array.reshape(-1)
        flat[0], flat[-1] = 3.4e38, value
        return array

    rewritten(copied, "product_vectors", change)
    with pytest.raises(DamagedModel, match=r"product_vectors\.npy holds a number that is not finite"):
        load(copied)


@pytest.mark.parametrize("part", ["history_products", "memory_products", "past_products", "kind_products"])
@pytest.mark.parametrize("value", [-1, 150, 2**31 - 1, -(2**31)])
def test_a_row_of_no_product_is_refused(copied, part, value):
    rewritten(copied, part, first_set(value))
    with pytest.raises(DamagedModel, match=rf"{part}\.npy holds the row {value}; there are 150 products"):
        load(copied)


@pytest.mark.parametrize("part", ["history_offsets", "memory_offsets", "past_offsets"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a + 1, "begins with 1; offsets begin with 0"),
        (lambda a: np.concatenate([a[:1], a[-1:], a[2:]]), "does not ascend"),
        (lambda a: np.concatenate([a[:-1], a[-1:] + 1]), "holds"),
        (lambda a: np.concatenate([a[:-1], [2**62]]), "holds"),
        (lambda a: a[:-1], "holds int64"),
    ],
)
def test_offsets_that_part_no_list_are_refused(copied, part, change, said):
    rewritten(copied, part, change)
    with pytest.raises(DamagedModel, match=said):
        load(copied)


def test_a_list_that_does_not_ascend_is_refused(copied):
    def swap(array):
        array[[0, 1]] = array[[1, 0]]
        return array

    rewritten(copied, "memory_products", swap)
    with pytest.raises(DamagedModel, match="holds a list that does not ascend"):
        load(copied)


def test_bought_less_than_once_is_refused(copied):
    rewritten(copied, "history_times", first_set(0))
    with pytest.raises(DamagedModel, match=r"history_times\.npy holds 0, which must be at least 1"):
        load(copied)


@pytest.mark.parametrize("value", [-1, 2])
def test_a_kind_of_event_that_is_none_is_refused(copied, value):
    rewritten(copied, "past_kinds", first_set(value))
    with pytest.raises(DamagedModel, match="past_kinds"):
        load(copied)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_plain_files_are_opened(copied, kind):
    path = copied / "product_bias.npy"
    moved = path.rename(copied.parent / "elsewhere.npy")
    {"link": lambda: path.symlink_to(moved), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises(DamagedModel, match=r"product_bias\.npy is (a link|no plain file)"):
        load(copied)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_manifest_is_a_plain_file(copied, kind):
    path = copied / "manifest.json"
    moved = path.rename(copied.parent / "elsewhere.json")
    {"link": lambda: path.symlink_to(moved), "pipe": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(DamagedModel, match=r"manifest\.json is (a link|no plain file)"):
        load(copied)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**60 + 1])
def test_a_moment_outside_all_calendars_is_refused(copied, value):
    rewritten(copied, "past_times", first_set(value))
    with pytest.raises(DamagedModel, match="holds a moment more than"):
        load(copied)


def test_offsets_of_no_length_are_refused(copied):
    rewritten(copied, "kind_offsets", lambda offsets: offsets[:0])
    with pytest.raises(DamagedModel, match="is empty"):
        load(copied)


@pytest.mark.parametrize("name", ["../product_bias.npy", "/etc/passwd", "pickle.npy", "x" * 300])
def test_a_file_that_is_no_part_of_a_model_is_never_opened(copied, name):
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    reseal(copied, manifest)
    with pytest.raises(DamagedModel):
        load(copied)


def test_files_that_no_checksum_covers_are_not_read(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["files"] = {}
    reseal(copied, manifest)
    with pytest.raises(DamagedModel, match="lists no"):
        load(copied)


@pytest.mark.parametrize("change", [
    lambda m: m.update(created="yesterday"), lambda m: m.update(metrics=7), lambda m: m["counts"].update(users=-1),
    lambda m: m.update(name="../x"), lambda m: m["basket"].update(damping="much"), lambda m: m.update(version=0),
    lambda m: m["beside"]["live"].update(weight={}), lambda m: m["beside"]["live"].update(dial=[]),
    lambda m: m["beside"]["live"].update(half_life=0), lambda m: m["beside"]["order"]["taste"].update(days={"a": 1}),
    lambda m: m["beside"]["order"].update(end=2**63 - 1), lambda m: m["beside"]["kinds"].update(names=[1]),
])  # fmt: skip
def test_fields_of_a_wrong_kind_are_refused(copied, change):
    manifest = json.loads((copied / "manifest.json").read_text())
    change(manifest)
    reseal(copied, manifest)
    with pytest.raises(DamagedModel, match="is not a manifest"):
        load(copied)


@pytest.mark.parametrize("text", ["1e400", "-1e999", "NaN", "Infinity"])
def test_a_number_beyond_all_numbers_is_refused(copied, text):
    path = copied / "manifest.json"
    path.write_text(path.read_text().replace('"metrics": {', f'"metrics": {{"odd": {text}, ', 1))
    with pytest.raises(DamagedModel, match="is not a manifest"):
        load(copied)


def test_a_deep_or_huge_manifest_is_refused(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    deep: object = 1
    for _ in range(40):
        deep = {"a": deep}
    reseal(copied, manifest | {"metrics": deep})
    with pytest.raises(DamagedModel, match="more than 32 levels deep"):
        load(copied)
    (copied / "manifest.json").write_text(" " * (17 << 20))
    with pytest.raises(DamagedModel, match="is larger than 16 MiB"):
        load(copied)


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_folder_is_refused_in_a_sentence_or_ranks_as_numpy_does(pairs_folder, tmp_path, seed):
    outcome = attack(pairs_folder, tmp_path / "model", seed)
    assert outcome.startswith(("refused: ", "ranked")), outcome


@pytest.fixture(scope="session")
def rich_folder(tmp_path_factory):
    """A folder of a model that learned from contexts, attributes, views and times, with all other parts made up."""
    model = tm.train(log_of(), seed=1, epochs=1, dimensions=16)
    return save(everything(model), tmp_path_factory.mktemp("rich") / "1")


@pytest.mark.parametrize("seed", range(40))
def test_a_mutated_folder_of_a_rich_model_is_refused_in_a_sentence_or_ranks_as_its_scores_say(
    rich_folder, tmp_path, seed
):
    outcome = attack(rich_folder, tmp_path / "model", seed)
    assert outcome.startswith(("refused: ", "ranked")), outcome
