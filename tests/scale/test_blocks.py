"""Lists for `evaluate`, ranked by several workers: the same report, to the bit."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import polars as pl
import pytest
from odd_workers import Deadly

import tastemaker as tm
from tastemaker.evaluation.evaluate import evaluate_ranked
from tastemaker.model.folder import save
from tastemaker.ranking.export import blocks
from tastemaker.ranking.export.blocks import rank_blocks
from tastemaker.scale.executor import Tally
from tastemaker.scale.local import Processes, ThisProcess
from tastemaker.training.sharded.crew import Crew


def test_a_report_on_lists_of_two_processes_is_that_of_one(model_folder, split, monkeypatch):
    monkeypatch.setattr(blocks, "LINES_A_BLOCK", 2_000)
    model, tally = tm.load(model_folder), Tally()
    rank = partial(rank_blocks, folder=model_folder, executor=Processes(2), tally=tally)
    found = evaluate_ranked(model, split.held_out, rank, at=(5, 20), seed=3)
    wanted = tm.evaluate(model, split.held_out, at=(5, 20), seed=3)
    assert found.to_json() == wanted.to_json()
    assert all(np.array_equal(found.values[name], wanted.values[name]) for name in wanted.values)
    assert sum(tally.workers.values()) == -(-wanted.users // 100)


def test_blocks_of_a_killed_worker_are_ranked_again_to_the_same_report(
    model_folder, split, monkeypatch, tmp_path
):
    monkeypatch.setattr(blocks, "LINES_A_BLOCK", 2_000)
    model, tally = tm.load(model_folder), Tally()
    deadly = Deadly(Processes(2), str(tmp_path))
    rank = partial(rank_blocks, folder=model_folder, executor=deadly, tally=tally)
    found = evaluate_ranked(model, split.held_out, rank, at=(5, 20), seed=3)
    assert found.to_json() == tm.evaluate(model, split.held_out, at=(5, 20), seed=3).to_json()
    assert [mark.name for mark in tmp_path.iterdir()] == ["killed-recommender"]
    assert tally.lost >= 1


def test_a_comparison_whose_workers_are_killed_finds_the_numbers_of_one_process(split, monkeypatch, tmp_path):
    monkeypatch.setattr(blocks, "LINES_A_BLOCK", 5_000)
    marks = tmp_path / "marks"
    marks.mkdir()
    crew = Crew(Deadly(Processes(2), str(marks)), tmp_path / "work")
    here, there = (
        tm.compare(
            split.train, split.held_out, models=["best-sellers", "co-purchase"], at=20, workers=workers
        )
        for workers in (None, crew)
    )
    for one, other in zip(here.entries, there.entries, strict=True):
        assert one.report.to_json() == other.report.to_json()
    assert len(list(marks.iterdir())) == len(here.entries)
    assert crew.tally.lost >= len(here.entries)


def test_a_worker_sees_when_another_model_stands_in_the_folder(model_folder, workshop_model, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "1")
    users = np.arange(50, dtype=np.int32)
    first = rank_blocks(users, 5, folder=folder, executor=ThisProcess())
    best = tm.best_sellers(pl.DataFrame({"user": [1], "product": [2]}))
    shutil.rmtree(folder)
    save(best, folder)
    second = rank_blocks(users[:1], 5, folder=folder, executor=ThisProcess(), include_purchased=True)
    assert first.lengths.tolist() == [5] * 50
    assert second.lengths.tolist() == [1]


@pytest.mark.parametrize("flags", [[], ["--include-purchased", "--at", 7]], ids=["plain", "with purchased"])
def test_the_command_prints_the_same_numbers(tastemaker, model_folder, split, tmp_path, flags):
    later = tmp_path / "later.parquet"
    split.held_out.to_frame().select("user_id", "product_id").write_parquet(later)
    here = tastemaker("evaluate", model_folder, later, *flags, "--json")
    there = tastemaker("evaluate", model_folder, later, *flags, "--json", "--workers", "local:2")
    assert here.returncode == there.returncode == 0, here.stderr + there.stderr
    assert json.loads(here.stdout) == json.loads(there.stdout)
    assert "Blocks of lists: " in there.stderr


def test_a_replay_is_not_parted(tastemaker, model_folder, tmp_path):
    ran = tastemaker("evaluate", model_folder, tmp_path / "later.csv", "--replay", "--workers", "local:2")
    assert ran.returncode == 2
    assert "runs in this process" in " ".join(ran.stderr.replace("│", " ").split())
