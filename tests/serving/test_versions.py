"""Versions: found, verified, taken over, refused, labelled, removed; and never a failed request meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from serving_worlds import PRODUCTS, client_of, make_model, product_id

from tastemaker.errors import ModelFolderProblem, NotServed
from tastemaker.model.folder import save
from tastemaker.serving.models.labels import change_labels, read_labels
from tastemaker.serving.models.registry import Registry, find_versions


@pytest.fixture
def models(tmp_path: Path) -> Path:
    save(make_model(1), tmp_path / "models" / "recommender" / "1")
    return tmp_path / "models"


@pytest.fixture
def shelf(models: Path) -> Registry:
    shelf = Registry(models)
    shelf.look()
    return shelf


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def wait_for(what, seconds=15.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def test_a_folder_of_models_one_models_folder_and_one_versions_folder_will_do(models):
    folder = models / "recommender" / "1"
    assert find_versions(models) == {("recommender", 1): folder}
    assert find_versions(models / "recommender") == {("recommender", 1): folder}
    assert find_versions(folder) == {("recommender", 1): folder}


def test_a_model_without_a_number_is_version_one(models):
    save(make_model(2), models / "mine")
    assert set(find_versions(models)) == {("recommender", 1), ("mine", 1)}
    shelf = Registry(models)
    shelf.look()
    assert {name: model.folder for name, model in shelf.models.items()} == {
        "mine": models / "mine",
        "recommender": models / "recommender",
    }


def test_what_is_no_version_is_not_looked_at(models):
    for name in ("0", "01", "-1", "x", ".hidden", "99999999999999999999"):
        shutil.copytree(models / "recommender" / "1", models / "recommender" / name)
    (models / "notes.txt").write_text("hello")
    assert set(find_versions(models)) == {("recommender", 1)}


def test_the_newest_sound_version_answers_and_the_older_stay(shelf, models):
    save(make_model(2), models / "recommender" / "12")
    save(make_model(3), models / "recommender" / "5")
    shelf.look()
    assert shelf.get("recommender").version == 12
    assert [shelf.get("recommender", version).version for version in (1, 5, 12)] == [1, 5, 12]


def test_what_is_not_there_is_not_served(shelf):
    for missing, asked in {
        "model": ("x",),
        "version": ("recommender", 2),
        "label": ("recommender", None, "x"),
    }.items():
        with pytest.raises(NotServed) as caught:
            shelf.get(*asked)
        assert caught.value.missing == missing


@pytest.mark.parametrize("file", ["product_vectors.npy", "manifest.json", "users.arrow"])
def test_a_version_with_a_flipped_byte_is_refused_and_the_old_one_serves_on(shelf, models, file):
    save(make_model(2), models / "recommender" / "2")
    flip_a_byte(models / "recommender" / "2" / file)
    changes = []
    shelf.on_change(changes.append)
    shelf.look()
    shelf.look()
    assert shelf.get("recommender").version == 1
    assert [(change.what, change.version) for change in changes] == [("refused", 2)]
    assert shelf.models["recommender"].refused[2]
    assert str(models) not in shelf.models["recommender"].refused[2]


def test_a_version_of_a_newer_format_is_refused(shelf, models):
    save(make_model(2), models / "recommender" / "2")
    manifest = models / "recommender" / "2" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
    shelf.look()
    assert "upgrade tastemaker" in shelf.models["recommender"].refused[2]


def test_a_version_with_numbers_that_are_not_finite_is_refused(shelf, models):
    model = make_model(2)
    model.product_vectors[7, 3] = np.nan
    save(model, models / "recommender" / "2")
    shelf.look()
    assert "not finite" in shelf.models["recommender"].refused[2]
    assert shelf.get("recommender").version == 1


def test_a_copy_that_was_not_yet_whole_is_taken_when_it_is(shelf, models):
    whole, copy = models.parent / "whole", models / "recommender" / "2"
    save(make_model(2), whole)
    copy.mkdir()
    shutil.copy(whole / "manifest.json", copy)
    shelf.look()
    assert shelf.get("recommender").version == 1
    assert "lacks its file" in shelf.models["recommender"].refused[2]
    for file in whole.iterdir():
        shutil.copy(file, copy)
    shelf.look()
    assert shelf.get("recommender").version == 2
    assert not shelf.models["recommender"].refused


def test_a_removed_version_goes_and_requests_that_hold_it_go_on(shelf, models):
    save(make_model(2), models / "recommender" / "2")
    shelf.look()
    held = shelf.get("recommender")
    shutil.rmtree(models / "recommender" / "2")
    shelf.look()
    assert shelf.get("recommender").version == 1
    assert held.model.product_vectors.shape == (160, 8)
    assert np.array_equal(held.model.product_vectors, make_model(2).product_vectors)


def test_when_everything_vanishes_the_last_versions_serve_on(shelf, models):
    models.rename(models.with_name("unmounted"))
    shelf.look()
    assert shelf.get("recommender").version == 1
    models.with_name("unmounted").rename(models)
    shelf.look()
    assert shelf.get("recommender").version == 1


def test_only_the_newest_and_the_labelled_versions_are_kept(models):
    for version in range(2, 7):
        save(make_model(version), models / "recommender" / str(version))
    change_labels(models / "recommender", lambda labels: labels.moved("canary", 2))
    shelf = Registry(models, keep=2)
    shelf.look()
    assert list(shelf.models["recommender"].ready) == [2, 5, 6]


def test_what_failed_for_no_fault_of_its_own_is_tried_again(shelf, models, monkeypatch):
    from tastemaker.serving.models import registry as module

    def no_files_left(*_, **__):
        raise OSError(24, "Too many open files")

    save(make_model(2), models / "recommender" / "2")
    monkeypatch.setattr(module, "RETRY_SECONDS", -1.0)
    with monkeypatch.context() as context:
        context.setattr(module, "load_version", no_files_left)
        shelf.look()
    assert shelf.get("recommender").version == 1
    assert "Too many open files" in shelf.models["recommender"].refused[2]
    shelf.look()
    assert shelf.get("recommender").version == 2


def test_shared_files_go_with_their_version_and_come_with_a_full_disk_none(models, tmp_path, monkeypatch):
    from tastemaker.serving.models import shared_pages as shared

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    save(make_model(2), models / "recommender" / "2")
    shelf = Registry(models, scratch=scratch)
    shelf.look()
    keys = {version: shelf.get("recommender", version).key for version in (1, 2)}
    assert {path.name.lstrip(".")[:32] for path in scratch.iterdir()} == set(keys.values())
    shutil.rmtree(models / "recommender" / "2")
    shelf.look()
    assert {path.name.lstrip(".")[:32] for path in scratch.iterdir()} == {keys[1]}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared, "_write", full)
    save(make_model(3), models / "recommender" / "3")
    shelf.look()
    assert shelf.get("recommender").version == 3


@pytest.mark.parametrize("ordered", [False, True])
def test_narrow_copies_are_shared_like_the_panels(tmp_path, ordered):
    from tastemaker.ranking.index.narrowed import narrow_copies
    from tastemaker.ranking.top_k import Candidates, top_k
    from tastemaker.serving.models.shared_pages import shared

    vectors = np.random.default_rng(1).normal(size=(400, 6)).astype(np.float32)
    order = np.arange(400, dtype=np.int32)[::-1].copy() if ordered else None
    narrow = replace(narrow_copies(vectors, order=order), most=3, longest=9)
    made = []

    def pack():
        made.append(replace(Candidates.of(vectors), narrow=narrow))
        return made[-1]

    first, second = (shared(pack, tmp_path, "version", vectors=vectors) for _ in range(2))
    assert len(made) == 1
    for found in (first, second):
        assert found.narrow is not None
        assert (found.narrow.most, found.narrow.longest) == (3, 9)
        assert np.array_equal(found.narrow.codes, narrow.codes)
        assert np.array_equal(found.narrow.facts, narrow.facts)
        assert (found.narrow.order is not None) == ordered
        if ordered:
            for name in ("rows", "places", "lengths"):
                assert np.array_equal(getattr(found.narrow.order, name), getattr(narrow.order, name))
        assert (
            top_k(vectors[:2], found, 5).rows.tolist()
            == top_k(vectors[:2], Candidates.of(vectors), 5).rows.tolist()
        )
    assert shared(pack, tmp_path, "version").narrow is None


def test_many_whole_numbers_as_ids_are_one_file_that_workers_map_and_answer_as_before(
    models, tmp_path, monkeypatch
):
    from tastemaker.serving.models import shared_pages

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = Registry(models)
    before.look()
    monkeypatch.setattr(shared_pages, "FEWEST_IDS", PRODUCTS)
    monkeypatch.setattr(shared_pages, "IDS_AT_ONCE", 7)
    workers = [Registry(models, scratch=scratch) for _ in range(2)]
    marks = []
    for worker in workers:
        worker.look()
        marks += [path.stat().st_ino for path in scratch.glob("*.products/ids.npy")]
    assert len(marks) == 2
    assert marks[0] == marks[1]
    assert not list(scratch.glob("*.users"))  # text
    as_read = before.get("recommender").model
    for worker in workers:
        loaded = worker.get("recommender")
        ids = loaded.model.products.ids
        mapped = ids.to_numpy(allow_copy=False)
        assert any(
            low <= mapped.__array_interface__["data"][0] < high for low, high in mapped_ranges("ids.npy")
        )
        assert ids.equals(as_read.products.ids)
        assert ids.dtype == as_read.products.ids.dtype
        assert loaded.product_ids.row(product_id(5)) == 5
        assert loaded.product_ids.row(product_id(5) + 1) is None
        assert loaded.model.users.ids.equals(as_read.users.ids)
    shared_pages.forget(scratch, workers[0].get("recommender").key)
    assert not list(scratch.glob("*.products"))


def mapped_ranges(name: str) -> list[tuple[int, int]]:
    """Return where files of this name are mapped in this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [
        tuple(int(end, 16) for end in line.split()[0].split("-")) for line in lines if line.endswith(name)
    ]


def test_ids_are_read_by_each_worker_where_the_disk_is_full_and_one_that_is_missing_is_damage(
    models, tmp_path, monkeypatch
):
    from tastemaker.errors import DamagedModel
    from tastemaker.serving.models import shared_pages

    monkeypatch.setattr(shared_pages, "FEWEST_IDS", 3)
    file = tmp_path / "products.arrow"
    pl.DataFrame({"id": [7, None, 9]}).write_ipc(file)
    with pytest.raises(DamagedModel, match="an id that is missing"):
        shared_pages.shared_ids(file, scratch=tmp_path, key="a")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_pages, "_write_ids", full)
    pl.DataFrame({"id": [7, 8, 9]}).write_ipc(file)
    assert shared_pages.shared_ids(file, scratch=tmp_path, key="a").to_list() == [7, 8, 9]


# Labels


def test_a_stable_version_answers_until_the_label_moves(shelf, models):
    save(make_model(2), models / "recommender" / "2")
    change_labels(models / "recommender", lambda labels: labels.moved("stable", 1))
    shelf.look()
    assert shelf.get("recommender").version == 1
    assert shelf.get("recommender", label="stable").version == 1
    assert shelf.get("recommender", 2).version == 2
    change_labels(models / "recommender", lambda labels: labels.moved("stable", 2))
    shelf.look()
    assert shelf.get("recommender").version == 2


def test_a_label_of_a_version_that_is_not_sound_is_not_served_and_the_default_falls_back(shelf, models):
    change_labels(models / "recommender", lambda labels: labels.moved("stable", 9))
    shelf.look()
    assert shelf.get("recommender").version == 1
    with pytest.raises(NotServed):
        shelf.get("recommender", label="stable")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"labels": {"stable": "x"}, "history": []}', "[" * 100_000]
)
def test_a_spoilt_file_of_labels_leaves_the_former_labels(shelf, models, content):
    save(make_model(2), models / "recommender" / "2")
    change_labels(models / "recommender", lambda labels: labels.moved("stable", 1))
    shelf.look()
    (models / "recommender" / "labels.json").write_text(content)
    shelf.look()
    assert shelf.get("recommender").version == 1
    with pytest.raises(ModelFolderProblem, match="is not a file of labels"):
        read_labels(models / "recommender")


def test_labels_move_and_move_back_step_by_step(tmp_path):
    for version in (1, 2, 3):
        labels = change_labels(tmp_path, lambda labels, to=version: labels.moved("stable", to))
    back = labels.moved_back("stable")
    assert back.versions == {"stable": 2}
    assert back.moved_back("stable").versions == {"stable": 1}
    assert back.moved_back("stable").moved_back("stable") is None


def test_many_promotions_at_once_leave_a_sound_file(tmp_path):
    def promote(version):
        change_labels(tmp_path, lambda labels: labels.moved(f"label-{version}", version))

    threads = [threading.Thread(target=promote, args=(version,)) for version in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_labels(tmp_path).versions == {f"label-{version}": version for version in range(1, 21)}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".labels.json.good",
        ".labels.json.lock",
        "labels.json",
    ]


def test_promote_and_rollback_from_the_command_line(tastemaker, models):
    save(make_model(2), models / "recommender" / "2")
    folder = models / "recommender"
    assert "is version 1" in tastemaker("rollback", folder).stderr
    assert json.loads(tastemaker("promote", folder, 2, "--json").stdout) == {
        "model": "recommender", "label": "stable", "from": 1, "to": 2,
    }  # fmt: skip
    assert json.loads(tastemaker("rollback", folder, "--json").stdout)["to"] == 1
    tastemaker("promote", folder, 2, "--label", "canary")
    assert read_labels(folder).versions == {"stable": 1, "canary": 2}


def test_rollback_passes_over_versions_that_no_server_answers_with(tastemaker, models):
    folder = models / "recommender"
    for number in (2, 3, 4):
        save(make_model(number), folder / str(number))
    flip_a_byte(folder / "2" / "product_vectors.npy")
    flip_a_byte(folder / "4" / "product_vectors.npy")
    (folder / "5").mkdir()
    ran = tastemaker("rollback", folder)  # 3 answers: 5 and 4 are broken, and so is 2
    assert "is version 1" in ran.stderr
    assert [f"Version {number} is passed over" in ran.stderr for number in (5, 4, 3, 2, 1)] == [
        True, True, False, True, False,
    ]  # fmt: skip
    tastemaker("promote", folder, 3)
    flip_a_byte(folder / "1" / "product_vectors.npy")
    ran = tastemaker("rollback", folder)
    assert (ran.returncode, "is not the file that was written" in ran.stderr) == (1, True)
    assert read_labels(folder).versions == {"stable": 3}


def test_what_cannot_be_promoted_is_said_in_one_sentence(tastemaker, models):
    folder = models / "recommender"
    save(make_model(2), folder / "2")
    flip_a_byte(folder / "2" / "product_vectors.npy")
    sentences = {
        (folder, 7): "has no version 7; its versions are 1, 2.",
        (folder, 2): "is not the file that was written",
        (models, 1): "holds no numbered versions",
        (folder, 1, "--label", "a/b"): "'a/b' is no label",
    }
    for arguments, sentence in sentences.items():
        ran = tastemaker("promote", *arguments)
        assert ran.returncode == 1
        assert sentence in ran.stderr
        assert ran.stderr.count("\n") == 1
    assert not (folder / "labels.json").exists()
    shutil.rmtree(folder / "2")
    ran = tastemaker("rollback", folder)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "no sound version before 1, so there is nothing to which stable could go back" in ran.stderr


def test_without_its_stable_version_a_model_answers_with_the_one_before_and_not_with_one_never_promoted(
    models,
):
    folder = models / "recommender"
    for number in (2, 3):
        save(make_model(number), folder / str(number))
    change_labels(folder, lambda labels: labels.moved("stable", 2))
    shelf = Registry(models)
    shelf.look()
    assert shelf.models["recommender"].default == 2
    shutil.rmtree(folder / "2")
    shelf.look()
    assert (shelf.models["recommender"].default, set(shelf.models["recommender"].ready)) == (1, {1, 3})
    shutil.rmtree(folder / "1")
    shelf.look()
    assert shelf.models["recommender"].default == 3


# The catalogue


def _catalogue(file, stock, ids=None):
    ids = [product_id(row) for row in range(PRODUCTS)] if ids is None else ids
    pl.DataFrame({"product_id": ids, "in_stock": stock}).write_parquet(file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)


def test_a_catalogue_that_changes_is_read_again(models, tmp_path, caplog):
    file = tmp_path / "private" / "shop.parquet"
    file.parent.mkdir()
    _catalogue(file, [True] * PRODUCTS)
    shelf = Registry(models, catalogue=file)
    shelf.look()
    first = shelf.get("recommender")
    shelf.look()
    assert shelf.get("recommender") is first
    _catalogue(file, [False] * PRODUCTS)
    shelf.look()
    second = shelf.get("recommender")
    assert (second.catalogue.column("in_stock").any(), first.catalogue.column("in_stock").all()) == (
        False,
        True,
    )
    assert second.key == first.key
    file.write_bytes(b"PAR1 half of a file")
    shelf.look()
    assert shelf.get("recommender") is second  # reported, and the former one serves
    assert "shop.parquet" in (problem := shelf.models["recommender"].refused[1])
    assert str(file.parent) not in problem
    file.unlink()
    shelf.look()
    assert shelf.get("recommender") is second
    _catalogue(file, [True] * PRODUCTS)
    shelf.look()
    assert shelf.get("recommender").catalogue.column("in_stock").all()
    assert not shelf.models["recommender"].refused
    assert "says something of" not in caplog.text


@pytest.mark.parametrize(("change", "sentence"), [("stock", "has no longer"), ("text", "has now text in")])
def test_a_catalogue_that_lost_what_rules_may_name_is_refused(models, tmp_path, change, sentence):
    file = tmp_path / "shop.parquet"
    _catalogue(file, [True] * PRODUCTS)
    shelf = Registry(models, catalogue=file)
    shelf.look()
    first = shelf.get("recommender")
    frame = pl.read_parquet(file)
    changed = {"stock": frame.rename({"in_stock": "stock"}), "text": frame.cast({"in_stock": pl.String})}
    changed[change].write_parquet(file)
    save(make_model(2), models / "recommender" / "2")
    shelf.look()
    assert shelf.get("recommender") is first
    problems = shelf.models["recommender"].refused
    assert [f"{sentence} the column 'in_stock'" in problems[number] for number in (1, 2)] == [True, True]
    _catalogue(file, [False] * PRODUCTS)
    shelf.look()
    assert (shelf.models["recommender"].default, shelf.models["recommender"].refused) == (2, {})


def test_a_catalogue_with_other_ids_is_warned_of(models, tmp_path, caplog):
    _catalogue(tmp_path / "shop.parquet", [True] * PRODUCTS, [f"other-{row}" for row in range(PRODUCTS)])
    Registry(models, catalogue=tmp_path / "shop.parquet").look()
    assert f"shop.parquet says something of 0 of the {PRODUCTS} products of recommender/1" in caplog.text


# Through the service


def test_a_refused_version_shows_in_status_metrics_and_not_in_answers(models):
    with client_of(models, poll_seconds=0.05) as client:
        save(make_model(2), models.parent / "waiting")
        flip_a_byte(models.parent / "waiting" / "product_bias.npy")
        os.rename(models.parent / "waiting", models / "recommender" / "2")
        status = wait_for(
            lambda: (
                (found := client.get("/v1/models/recommender").json()["model_version_status"])[1:]
                and found[0]["state"] != "LOADING"
                and found
            )
        )
        assert [(version["version"], version["state"]) for version in status] == [
            ("2", "END"),
            ("1", "AVAILABLE"),
        ]
        assert status[0]["status"]["error_code"] == "DATA_LOSS"
        assert "product_bias.npy" in status[0]["status"]["error_message"]
        assert str(models) not in client.get("/v1/models/recommender").text
        metrics = client.get("/metrics").text
        assert 'tastemaker_loads_total{model="recommender",outcome="refused"} 1.0' in metrics
        assert 'tastemaker_model_refused{model="recommender",version="2"} 1.0' in metrics
        assert client.get("/v1/models/recommender/metadata").json()["model_spec"]["version"] == "1"
        assert client.get("/readyz").status_code == 200


def test_versions_come_and_go_under_load_and_no_request_fails(models, start):
    """Publish, promote, spoil and remove versions while clients ask; every answer is that of a sound version."""
    server = start(models, "--workers", 2, "--quiet")
    sound = {}
    for version in (1, 2, 3):
        vectors = make_model(version).product_vectors.astype(np.float64)
        best = np.argsort(-(vectors @ vectors[5]), kind="stable")[:100]
        sound[tuple(product_id(row) for row in best)] = version
    body = {"signature_name": "call_item_item", "inputs": product_id(5)}
    seen, failures, stop = set(), [], threading.Event()

    def ask():
        import httpx2 as httpx

        with httpx.Client(base_url=server.address, timeout=20, trust_env=False) as client:
            while not stop.is_set():
                answer = client.post("/v1/models/recommender:predict", json=body)
                if answer.status_code != 200:
                    failures.append(answer.text)
                    return
                seen.add(sound[tuple(answer.json()["outputs"]["output_0"])])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    folder = models / "recommender"
    save(make_model(2), folder / "2")
    wait_for(lambda: 2 in seen)
    save(make_model(9), models.parent / "spoilt" / "4")
    flip_a_byte(models.parent / "spoilt" / "4" / "product_vectors.npy")
    os.rename(models.parent / "spoilt" / "4", folder / "4")
    save(make_model(3), folder / "3")
    wait_for(lambda: 3 in seen)
    change_labels(folder, lambda labels: labels.moved("stable", 1))
    time.sleep(0.5)
    seen.clear()
    wait_for(lambda: 1 in seen)
    shutil.rmtree(folder / "3")
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert server.stop() == 0


def test_a_server_killed_while_it_reloads_starts_again_with_what_is_whole(models, start):
    for round_ in range(3):
        server = start(models, "--quiet")
        publisher = threading.Thread(
            target=save, args=(make_model(7), models / "recommender" / str(10 + round_))
        )
        publisher.start()
        time.sleep(0.02 * round_)
        server.process.kill()
        server.process.wait()
        publisher.join()
    server = start(models, "--quiet")
    answer = server.client.get("/v1/models/recommender").json()["model_version_status"]
    assert {(version["version"], version["state"]) for version in answer} == {
        ("1", "AVAILABLE"), ("10", "AVAILABLE"), ("11", "AVAILABLE"), ("12", "AVAILABLE"),
    }  # fmt: skip


def test_a_publisher_killed_midway_leaves_nothing_that_is_served(models, start, python):
    server = start(models, "--quiet")
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import tastemaker as tm
from serving_worlds import make_model

real = np.save
np.save = lambda path, *a, **k: os.kill(os.getpid(), 9) if "bias" in str(path) else real(path, *a, **k)
tm.save(make_model(2), sys.argv[2])
"""
    ran = python(code, Path(__file__).parent, models / "recommender" / "2")
    assert ran.returncode == -9
    time.sleep(0.4)
    answer = server.client.get("/v1/models/recommender").json()["model_version_status"]
    assert [version["version"] for version in answer] == ["1"]
    assert server.client.get("/readyz").status_code == 200
