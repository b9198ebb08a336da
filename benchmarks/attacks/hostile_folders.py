"""Ten thousand model folders with hostile content and right checksums: ``python benchmarks/attacks/hostile_folders.py``.

Each is a good folder with one or two mutations, loaded and asked for 50 lists in a child process of its own batch: refused in a
sentence, or equal to NumPy's ranking. Batches take turns: a model of pairs, and one with every part that a model may have. A child
that dies, hangs, or answers otherwise is named with its seed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(TESTS / "model"), str(TESTS)]

CHILD = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from hostile_folders import attack
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    print(seed, attack(Path(sys.argv[3]), Path(sys.argv[4]), seed, users=50), flush=True)
"""


def good_folders(folder: Path) -> tuple[Path, Path]:
    """Save a model of pairs, and one with every part; return their folders."""
    from hostile_folders import everything

    import tastemaker as tm
    from beside_worlds import log_of

    shop = tm.make_shop(users=300, products=120, purchases=3_000, seed=3)
    pairs = tm.train(shop.purchases, tm.preset("default"), seed=1)
    rich = everything(tm.train(log_of(), seed=1, epochs=2, dimensions=16))
    return tm.save(pairs, folder / "pairs" / "1"), tm.save(rich, folder / "rich" / "1")


def main() -> None:
    """Attack in batches; print what came of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=250)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        good = good_folders(Path(scratch))
        code = CHILD.format(tests=sys.path[0])
        for turn, low in enumerate(range(0, options.mutations, options.batch)):
            high = min(low + options.batch, options.mutations)
            arguments = [str(low), str(high), str(good[turn % 2]), str(Path(scratch) / "mutated" / "1")]
            Path(scratch, "mutated").mkdir(exist_ok=True)
            ran = subprocess.run(
                [sys.executable, "-c", code, *arguments],
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )
            lines = ran.stdout.splitlines()
            for line in lines:
                seed, _, outcome = line.partition(" ")
                kind = outcome.partition(":")[0]
                outcomes[kind] += 1
                if kind not in ("refused", "ranked"):
                    failures.append(f"seed {seed}: {outcome}")
            if len(lines) < high - low:
                outcomes["died"] += 1
                failures.append(
                    f"seed {low + len(lines)} ended its process ({ran.returncode}): {ran.stderr[-500:]}"
                )
    print(f"{sum(outcomes.values()):,} folders in {time.monotonic() - began:.0f} s: {dict(outcomes)}")
    print("\n".join(failures[:50]))
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
