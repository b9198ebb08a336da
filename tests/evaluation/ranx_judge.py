"""Run by test_metrics_against_ranx.py in a process of its own: reads a world as JSON, prints ranx's values.

There ranx runs without compilation (NUMBA_DISABLE_JIT=1), which would take longer than all other tests here.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    from ranx import Qrels, Run, evaluate  # here, so that who collects doctests does not import it

    world = json.load(sys.stdin)
    held = {str(user): {str(row): 1 for row in rows} for user, rows in world["held"].items()}
    shown = {
        str(user): {str(row): float(len(rows) - place) for place, row in enumerate(rows)}
        for user, rows in world["shown"].items()
    }
    found = evaluate(Qrels(held), Run(shown), world["metrics"], return_mean=False)
    # ranx sorts the users by their names
    json.dump(
        {name: dict(zip(sorted(held), values.tolist(), strict=True)) for name, values in found.items()},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
