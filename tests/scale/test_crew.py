"""Learning by workers elsewhere: the bytes of one process, whoever learns; what is lost is done again, what is done is not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest
import typer
from odd_workers import AfterEach, Deadly, LostAfter, check_same_model

import tastemaker as tm
from tastemaker.cli.terminal.reading import ReadingOptions
from tastemaker.errors import SettingProblem, WorkersLost
from tastemaker.scale.local import Processes, ThisProcess
from tastemaker.training.memory import blocks
from tastemaker.training.sharded import crew as crew_module
from tastemaker.training.sharded.crew import Crew, learn_share

SETTINGS = {"epochs": 2, "dimensions": 8, "decay": 0.01, "memory.count_weight": 1, "memory.ridge_weight": 0,
            "memory.spectral_weight": 0, "memory.directed_weight": 0, "trend.weight": 0, "repeats.weight": 0,
            "repeats.sales": 0, "repeats.level": 0, "live.rate": 0}  # fmt: skip
"""Nothing is left to choose"""


@pytest.fixture(scope="module")
def pairs(split):
    return replace(split.train, times=None)


def digest(model):
    """Of all that was learned and what learning measured, times apart."""
    memory = model.memory
    arrays = (model.product_vectors, model.product_bias, memory.offsets, memory.products, memory.weights)
    course = [asdict(epoch) | {"seconds": 0} for epoch in model.record.epochs]
    return hashlib.sha256(b"".join(map(np.ndarray.tobytes, arrays)) + json.dumps(course).encode()).hexdigest()


def learned(log, shards, **more):
    return digest(tm.train(log, seed=3, progress=False, **SETTINGS | {"shards": shards} | more))


@pytest.fixture(scope="module")
def by_threads(pairs):
    """What one process learns, by the number of shards."""
    return {shards: learned(pairs, shards, threads=1) for shards in (1, 5)}


def test_threads_and_processes_learn_the_same_bytes(pairs, by_threads, tmp_path):
    for threads in (2, 8):
        assert {shards: learned(pairs, shards, threads=threads) for shards in (1, 5)} == by_threads
    brief = learned(pairs, 3, threads=1, epochs=1)
    for processes in (1, 2, 4):
        crew = Crew(Processes(processes), tmp_path / str(processes))
        assert learned(pairs, 3, workers=crew, epochs=1) == brief
        assert sum(crew.tally.workers.values()) == 16 * 2 * 3  # rounds, members, shards
    assert learned(pairs, 1, workers="local:2") == by_threads[1]
    assert len({brief, *by_threads.values()}) == 3


def test_the_shard_of_a_killed_process_is_learned_again_to_the_same_bytes(pairs, tmp_path):
    crew = Crew(Deadly(Processes(2), str(tmp_path)), tmp_path / "work")
    assert learned(pairs, 2, workers=crew, epochs=1) == learned(pairs, 2, threads=1, epochs=1)
    assert len(list(tmp_path.glob("killed-*"))) == 1
    assert 1 <= crew.tally.lost <= 2  # what its neighbour had at work is begun again, too


@pytest.mark.parametrize(("shards", "runs", "lost_after"), [(5, 32, 21), (1, 2, 1)])
def test_after_a_lost_head_the_same_command_does_only_what_is_missing(
    pairs, by_threads, tmp_path, shards, runs, lost_after
):
    with pytest.raises(WorkersLost, match="the head was lost"):
        learned(pairs, shards, workers=Crew(LostAfter(lost_after), tmp_path))
    again = LostAfter(1_000)
    assert learned(pairs, shards, workers=Crew(again, tmp_path)) == by_threads[shards]
    assert len(again.done) == runs - lost_after
    other = LostAfter(1_000)  # other settings, in the same folder
    found = learned(pairs, shards, workers=Crew(other, tmp_path), damping=0.4)
    assert found == learned(pairs, shards, damping=0.4) != by_threads[shards]
    assert len(other.done) == runs


def test_tables_that_a_crash_has_damaged_are_not_gone_on_from(pairs, by_threads, tmp_path):
    with pytest.raises(WorkersLost):
        learned(pairs, 5, workers=Crew(LostAfter(21), tmp_path))
    (table,) = tmp_path.glob("epoch-*/5-vectors-0.npy")
    table.write_bytes(table.read_bytes()[:-64] + bytes(64))
    again = LostAfter(1_000)
    assert learned(pairs, 5, workers=Crew(again, tmp_path)) == by_threads[5]
    assert len(again.done) == 16  # the second epoch, whole


WHOLE_MEMORY = {"memory.ridge_weight": 0.5, "memory.spectral_weight": 0.3}


def test_the_memory_is_worked_out_by_workers_to_the_same_bytes_and_one_killed_is_made_up_for(
    pairs, tmp_path, monkeypatch
):
    more = {"epochs": 1, **WHOLE_MEMORY}
    here = learned(pairs, 1, threads=1, **more)
    monkeypatch.setattr(blocks, "PRODUCTS_AT_ONCE", 70)
    assert learned(pairs, 1, threads=2, **more) == here != learned(pairs, 1, threads=2, epochs=1)
    crew = Crew(Deadly(Processes(2), str(tmp_path)), tmp_path / "work")
    assert learned(pairs, 1, workers=crew, **more) == here
    assert sum(crew.tally.workers.values()) == 2 + 5 * -(-len(pairs.products) // 70)  # members, tables
    marks = {mark.name for mark in tmp_path.glob("killed-*")}
    assert marks == {"killed-common", "killed-neighbours", "killed-weights"}
    assert crew.tally.lost >= 3
    assert not list(tmp_path.glob("work/block-*"))
    assert (
        len(list(tmp_path.glob("work/*.npy"))) == 6
    )  # what the vectors are learned from; no table of the memory


def test_blocks_that_were_done_before_the_head_was_lost_are_not_done_again(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "PRODUCTS_AT_ONCE", 70)
    here = learned(pairs, 1, threads=1, epochs=1)
    with pytest.raises(WorkersLost):
        learned(pairs, 1, epochs=1, workers=Crew(AfterEach(3), tmp_path))
    tasks = 2 + -(-len(pairs.products) // 70)
    again = Crew(AfterEach(1_000), tmp_path)
    assert learned(pairs, 1, epochs=1, workers=again) == here
    assert sum(again.tally.workers.values()) == tasks - 3


def test_settings_are_chosen_by_the_same_workers(split, tmp_path):
    """The shop's log has times, and all is left to choose but the epochs."""
    crew = Crew(ThisProcess(), tmp_path)
    here, there = (
        tm.train(split.train, seed=1, progress=False, epochs=2, dimensions=8, shards=3, workers=workers)
        for workers in (None, crew)
    )
    assert digest(here) == digest(there)
    assert dict(here.record.metrics) == dict(there.record.metrics)
    assert sum(crew.tally.workers.values()) >= 2 * 2 * 16 * 2 * 3  # to choose by, and to keep


def test_a_log_with_attributes_is_learned_here(pairs, tmp_path):
    colours = pl.DataFrame({"colour": [f"c{row % 5}" for row in range(len(pairs.products))]})
    told = replace(pairs, product_features=colours)
    crew = Crew(LostAfter(0), tmp_path)
    more = {"tokens.columns": "product:colour"}
    assert learned(told, 1, workers=crew, **more) == learned(told, 1, **more)
    assert not crew.tally.workers


def test_a_worker_that_does_not_see_the_folder_says_so(pairs, tmp_path, monkeypatch):
    def elsewhere(share):
        return learn_share(share._replace(work="/not/shared", epoch_folder="/not/shared/epoch"))

    monkeypatch.setattr(crew_module, "learn_share", elsewhere)
    with pytest.raises(
        SettingProblem, match=r"does not find /not/shared/.*on a file system that all hosts share"
    ):
        learned(pairs, 5, workers=Crew(ThisProcess(), tmp_path))


def test_another_word_for_workers_is_refused(pairs):
    with pytest.raises(SettingProblem, match="work cannot be done on 'dask'"):
        learned(pairs, 5, workers="dask")


# The commands -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(pairs, split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    for name, log in (("train", pairs), ("later", split.held_out)):
        log.to_frame().select("user_id", "product_id").write_parquet(folder / f"{name}.parquet")
    return folder


FLAGS = ("--effort", "quick", "--epochs", 1, "--dimensions", 8, "--set", "taste.shards=3")


def test_train_by_workers_writes_the_model_of_one_process(tastemaker, files, tmp_path):
    for name, more in (("here", ()), ("there", ("--on", "local:2"))):
        ran = tastemaker("train", files / "train.parquet", "--out", tmp_path / name, *FLAGS, *more)
        assert ran.returncode == 0, ran.stderr
    assert "Of the learning: " in ran.stderr
    assert not (tmp_path / ".there.work").exists()
    check_same_model(tmp_path)


def test_compare_by_workers_finds_the_numbers_of_one_process(files, pairs, split, tmp_path):
    crew = Crew(ThisProcess(), tmp_path)
    here, there = (
        tm.compare(pairs, split.held_out, models=["default"], at=20, workers=workers)
        for workers in (None, crew)
    )
    for one, other in zip(here.entries, there.entries, strict=True):
        assert one.report.to_json() == other.report.to_json()
    assert crew.tally.workers


def test_on_names_workers_where_nothing_is_joined_and_else_a_column():
    assert ReadingOptions(on="ray").and_workers("local") == (ReadingOptions(), "ray")
    assert ReadingOptions(on="order_id").and_workers("local:2") == (ReadingOptions(on="order_id"), "local:2")
    joined = ReadingOptions(on="local", join=["lines.csv"])
    assert joined.and_workers("local") == (joined, "local")
    with pytest.raises(typer.BadParameter, match="both say who works"):
        ReadingOptions(on="ray").and_workers("local:2")
