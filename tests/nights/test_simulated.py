"""Nights of a simulated shop, one after another, with their accidents; `python benchmarks/nights.py` runs them of a larger one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_24_nights_of_a_shop_with_every_accident_end_as_they_must():
    ran = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "nights.py", "--small", "--nights", "24", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    nights = json.loads(ran.stdout)
    odd = {
        4: ("failed", "stores.parquet does not exist"),
        6: ("out of bounds", "users or products may be scrambled"),
        10: ("out of bounds", "fewer than 98% of them (fewest_rows)"),
        13: ("out of bounds", "ids of products are text now"),
        16: ("worse", "the new model is worse than version 11"),
        19: ("out of bounds", "more than 2 times as many (most_rows)"),
    }
    serves = 0
    for number, night in enumerate(nights, 1):
        outcome, why = odd.get(number, ("published", ""))
        serves += outcome == "published"
        assert (night["outcome"], night["serves"]) == (outcome, serves), (number, night, ran.stderr)
        assert why in night["why"]
    assert (len(nights), serves) == (24, 18)
    assert [night["night"] for night in nights if "killed" in night["happens"]] == [7, 22]
    assert [night["night"] for night in nights if "fashion" in night["happens"]] == [3, 20]
    assert ran.returncode == 0
