"""Nights of a simulated shop, one after another, with their accidents; `python benchmarks/nights.py` runs 24 of a larger one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_seven_nights_with_a_lost_feed_a_scrambled_night_and_a_killed_run_end_as_they_must():
    ran = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "nights.py", "--small", "--nights", "7", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    nights = json.loads(ran.stdout)
    found = [(night["outcome"], night["serves"]) for night in nights]
    assert found == [
        ("published", 1),
        ("published", 2),  # a campaign brings customers
        ("published", 3),  # the fashion turns
        ("failed", 3),
        ("published", 4),
        ("out of bounds", 4),
        ("published", 5),
    ], ran.stderr
    assert "stores.parquet does not exist" in nights[3]["why"]
    assert "users or products may be scrambled" in nights[5]["why"]
    assert ran.returncode == 0
