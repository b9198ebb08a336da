"""Lists in parts: the same bytes wherever they are made, whole or not there, and gone on with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import polars as pl
import pytest

import tastemaker as tm
from tastemaker.errors import FolderExists, SettingProblem, UnreadableFile
from tastemaker.ranking.export.parts import ListJob, write_parts
from tastemaker.scale.local import Processes, ThisProcess

LINES = 500
"""Lines in a part here: 400 users of 5 products each are 4 parts, 150 products 2."""


def job_of(folder, what="users", **wishes):
    return ListJob(str(folder), what, 5, lines_a_part=LINES, **wishes)


def digests(folder):
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.parametrize("what", ["users", "products"])
def test_threads_and_processes_write_the_same_bytes(model_folder, tmp_path, what):
    executors = {"1": ThisProcess(1), "2": ThisProcess(2), "one": Processes(1), "four": Processes(4)}
    found = {}
    for name, executor in executors.items():
        write_parts(job_of(model_folder, what), tmp_path / name, executor)
        found[name] = digests(tmp_path / name)
    assert len(found["1"]) == {"users": 4, "products": 2}[what] + 2
    assert found["1"] == found["2"] == found["one"] == found["four"]


def test_the_parts_hold_the_lists_that_recommend_and_similar_give(model_folder, tmp_path):
    model = tm.load(model_folder)
    written = write_parts(job_of(model_folder), tmp_path / "users", ThisProcess())
    whole = tm.recommend(model, model.users.ids, k=5).to_frame()
    assert pl.read_parquet(tmp_path / "users" / "*.parquet").equals(whole)
    assert written.lines == len(whole) == sum(written.tally.workers.values()) * LINES
    cosine = job_of(model_folder, "products", similarity="cosine", include_self=True)
    write_parts(cosine, tmp_path / "products", ThisProcess())
    near = tm.similar(model, model.products.ids, k=5, similarity="cosine", include_self=True).to_frame()
    assert pl.read_parquet(tmp_path / "products" / "*.parquet").equals(near)


def test_rules_reasons_and_what_was_bought_reach_the_workers(model_folder, tmp_path):
    model = tm.load(model_folder)
    banned = model.products.ids[:20].to_list()
    (tmp_path / "rules.json").write_text(json.dumps({"deny": banned}))
    job = job_of(model_folder, rules=str(tmp_path / "rules.json"), explain=True, include_purchased=True)
    write_parts(job, tmp_path / "out", ThisProcess())
    found = pl.read_parquet(tmp_path / "out" / "*.parquet")
    wanted = tm.recommend(
        model, model.users.ids, k=5, rules={"deny": banned}, explain=True, include_purchased=True
    )
    assert found.equals(wanted.to_frame())
    assert "because" in found.columns


def test_what_is_missing_is_made_and_what_is_there_is_kept(model_folder, tmp_path):
    job, out = job_of(model_folder), tmp_path / "out"
    write_parts(job, out, ThisProcess())
    before = digests(out)
    parts = sorted(out.glob("*.parquet"))
    parts[1].unlink()
    (out / "_SUCCESS").unlink()
    parts[0].touch()
    kept = parts[0].stat().st_mtime_ns
    told = []
    written = write_parts(job, out, Processes(2), on_progress=told.append)
    assert (written.parts, written.kept, sum(written.tally.workers.values())) == (4, 3, 1)
    assert told == [300, 100]
    assert digests(out) == before
    assert parts[0].stat().st_mtime_ns == kept


def test_a_folder_of_anything_else_is_left_alone(model_folder, tmp_path):
    job, out = job_of(model_folder), tmp_path / "out"
    write_parts(job, out, ThisProcess())
    before = digests(out)
    for other in (replace(job, k=6), replace(job, include_purchased=True), replace(job, what="products")):
        with pytest.raises(FolderExists, match="of other settings"):
            write_parts(other, out, ThisProcess())
    assert digests(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(FolderExists, match="is not empty"):
        write_parts(job, tmp_path / "mine", ThisProcess())


def test_a_job_is_known_by_the_content_of_its_files_not_by_their_names(model_folder, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text('{"deny": []}')
    write_parts(job_of(model_folder, rules=str(rules)), tmp_path / "out", ThisProcess())
    copied = shutil.copytree(model_folder, tmp_path / "moved" / "1")
    assert write_parts(job_of(copied, rules=str(rules)), tmp_path / "out", ThisProcess()).kept == 4
    rules.write_text('{"deny": [1]}')
    with pytest.raises(FolderExists):
        write_parts(job_of(model_folder, rules=str(rules)), tmp_path / "out", ThisProcess())


def test_what_cannot_work_is_said_before_anything_is_ranked(model_folder, tmp_path):
    for change, problem in (
        ({"k": 0}, SettingProblem),
        ({"rules": str(tmp_path / "none.json")}, UnreadableFile),
        ({"catalogue": "postgresql://shop/db#products"}, UnreadableFile),
    ):
        with pytest.raises(problem):
            write_parts(replace(job_of(model_folder), **change), tmp_path / "out", ThisProcess())
        assert not (tmp_path / "out").exists()


NEIGHBOURS = """
import resource, sys
import numpy as np
from tastemaker.ranking.packed import _of_length_one
from tastemaker.ranking.rank import nearest
from tastemaker.ranking.top_k import Candidates

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

vectors = np.random.default_rng(0).standard_normal((60_000, 128), dtype=np.float32)
few = np.arange(300, dtype=np.int32)
nearest((vectors, Candidates.of(_of_length_one(vectors[:3_000]))), few, k=100, threads=2)  # compiles
before = most()
space = _of_length_one(vectors)
scaled = most()
space = space, Candidates.of(space)
packed = most()
nearest(space, np.arange(8_192, dtype=np.int32), k=100, threads=2)
print(vectors.nbytes / 2**20, scaled - before, packed - before, most() - packed)
"""


def test_neighbours_of_very_many_products_take_no_memory_beyond_their_vectors_and_lists(python):
    ran = python(NEIGHBOURS)
    assert ran.returncode == 0, ran.stderr
    vectors, scaled, packed, ranked = map(float, ran.stdout.split())
    assert scaled < 2 * vectors + 16
    assert packed < 3 * vectors + 16
    assert ranked < 64  # lists of 13 MiB; a block of 8,192 queries by 60,000 scores would be 1,875


def test_the_commands_write_parts_and_say_who_did_them(tastemaker, model_folder, tmp_path):
    ran = tastemaker(
        "recommend",
        model_folder,
        "--all-users",
        "--k",
        3,
        "--out",
        tmp_path / "users",
        "--workers",
        "local:2",
    )
    assert ran.returncode == 0, ran.stderr
    assert "Wrote 1,200 lines in 1 part" in ran.stderr
    assert " did 1." in ran.stderr
    ran = tastemaker(
        "similar", model_folder, "--all-products", "--k", 3, "--out", tmp_path / "products", "--workers", "local", "--json"
    )  # fmt: skip
    told = json.loads(ran.stdout)
    assert (told["rows"], told["parts"], told["kept"], told["again"]) == (450, 1, 0, 0)
    assert sum(told["workers"].values()) == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--all-users"], "give --all-users and --out"),
        (["--user", "c-000001", "--out", "x"], "give --all-users"),
        (["--all-users", "--out", "x", "--approximate"], "leave --approximate out"),
        (["--all-users", "--out", "x", "--with-purchases", "y", "--at", "2024-01-01"], "--with-purchases and --at"),
    ],
)  # fmt: skip
def test_flags_that_workers_elsewhere_could_not_heed_are_refused(tastemaker, model_folder, flags, said):
    ran = tastemaker("recommend", model_folder, *flags, "--workers", "local")
    assert ran.returncode == 2
    assert said in " ".join(ran.stderr.replace("│", " ").split())
