"""Time to learn, against implicit's ALS, on the ASOS log: ``python benchmarks/against_als.py``.

Each run is a process of its own, in turns, with all kernels compiled before: `tastemaker train` with its default settings, the
same with a single epoch, and ALS with 128 factors and 15 iterations, the other settings the best that `quality.py` found. Of
tastemaker's the wall time of the whole process counts: start of Python, reading, choosing on a part held out, training, writing. Of
ALS only its import and its fit. The quality is that of `evaluate` on the file of validation, of the last run of each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tastemaker as tm
from common import ASOS_LOG, asos_folder, machine, markdown, parser_of, ratios, spread, thread_environment

ALS = """
import sys, time, tastemaker as tm
log = tm.read_purchases(sys.argv[1])
began = time.perf_counter()
settings = dict(factors=128, iterations=15, alpha=6.0, regularization=3.3)
model = tm.als(log, **settings, threads=int(sys.argv[3]))  # imports implicit, then fits
print(time.perf_counter() - began)
tm.save(model, sys.argv[2])
"""
DEFAULT, ONE, RIVAL = "tastemaker, default settings", "tastemaker, one epoch", "implicit's ALS"


def main() -> None:
    parser = parser_of(__doc__, rounds=3, threads=2)
    parser.add_argument("--data", type=Path, help="the folder that holds asos/ (default: TASTEMAKER_DATA)")
    options = parser.parse_args()
    train = asos_folder(options.data) / ASOS_LOG
    valid = train.with_name(train.name.replace("train", "valid"))
    environment = thread_environment(options.threads)
    command = [
        sys.executable,
        "-m",
        "tastemaker",
        "train",
        str(train),
        "--threads",
        str(options.threads),
        "--out",
    ]
    seconds: dict[str, list[float]] = {DEFAULT: [], ONE: [], RIVAL: []}
    quality: dict[str, tm.Report] = {}
    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, out: Path) -> float:
            began = time.perf_counter()
            if name == RIVAL:
                command_of = [sys.executable, "-c", ALS, str(train), str(out), str(options.threads)]
                printed = subprocess.run(
                    command_of, env=environment, check=True, capture_output=True, text=True
                )
                return float(printed.stdout)
            more = ["--epochs", "1"] if name == ONE else []
            subprocess.run([*command, str(out), *more], env=environment, check=True, capture_output=True)
            return time.perf_counter() - began

        run(ONE, Path(folder) / "compiled")
        for turn in range(options.rounds):
            for name, taken in seconds.items():
                out = Path(folder) / f"{list(seconds).index(name)}-{turn}"
                taken.append(run(name, out))
                if turn == options.rounds - 1:
                    model = tm.load(out)
                    quality[name] = tm.evaluate(
                        model, tm.read_held_out(valid, model.users, model.products).purchases
                    )
    rows = [
        [
            name,
            spread(taken, 1),
            "1" if name == RIVAL else spread(ratios(taken, seconds[RIVAL])),
            f"{quality[name].metrics['ndcg@100'].mean:.4f}",
            f"{quality[name].metrics['recall@10'].mean:.4f}",
        ]
        for name, taken in seconds.items()
    ]
    print(markdown(["", "seconds", "times ALS", "ndcg@100", "recall@10"], rows))
    print(
        f"\nASOS, {options.threads} threads, {options.rounds} runs of each in turns; median (least–greatest). {machine()}"
    )


if __name__ == "__main__":
    main()
