"""Metrics: equal to ranx, an independent implementation, on random lists from scores with many ties."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ranked_worlds import held_of, lists_of, random_world

from tastemaker.evaluation.metrics import USER_METRICS, measure

AT = [1, 3, 10, 25]
NAMES = [f"{name}@{k}" for name in USER_METRICS for k in AT]
NOWHERE = -1


@pytest.fixture(scope="module")
def ours_and_theirs():
    if importlib.util.find_spec("ranx") is None:
        pytest.skip("ranx is not installed")
    shown, held, products = random_world(
        np.random.default_rng(5), users=150, products=30, longest=25, most_held=14
    )
    found = measure(lists_of(shown), held_of(held), at=AT, products=products)
    users = found.queries.tolist()
    world = {
        "held": {user: held[user] for user in users},
        "shown": {user: shown[user] or [NOWHERE] for user in users},  # ranx has no empty lists
        "metrics": NAMES,
    }
    judged = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ranx_judge.py"))],
        input=json.dumps(world),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stderr
    answers = json.loads(judged.stdout)
    theirs = {name: np.array([answers[name][str(user)] for user in users]) for name in NAMES}
    return found.values, theirs, np.array([len(held[user]) for user in users])


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("map@")])
def test_a_metric_equals_that_of_ranx(ours_and_theirs, name):
    ours, theirs, _ = ours_and_theirs
    assert 0 < theirs[name].mean() < 1
    np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", AT)
def test_map_equals_that_of_ranx_but_for_the_stated_divisor(ours_and_theirs, k):
    ours, theirs, held = ours_and_theirs  # ranx divides by all held-out products, we by min(k, held out)
    np.testing.assert_allclose(
        ours[f"map@{k}"] * np.minimum(k, held) / held, theirs[f"map@{k}"], rtol=0, atol=1e-12
    )
