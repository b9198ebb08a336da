"""Long histories, quality and time to learn, on yelp2018: ``python benchmarks/long_histories.py``.

A model is learned from `train.parquet` with each effort and each seed, and ranks `test.parquet`, which nothing is chosen on. Each
run is a process of its own, in turns with implicit's ALS (128 factors, 15 iterations, its other settings at their defaults). Of
tastemaker's the time of the whole process counts: start of Python, reading, choosing on a part held out, training, writing. Of
ALS only its import and its fit. All kernels are compiled before. Processor time is told beside wall time, since other jobs of the
machine change it little.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tastemaker as tm
from common import ROOT, machine, markdown, missing, parser_of, ratios, spread, thread_environment

ALS = """
import sys, time, tastemaker as tm
log = tm.read_purchases(sys.argv[1])
began, busy = time.perf_counter(), time.process_time()
model = tm.als(log, factors=128, iterations=15, seed=int(sys.argv[4]), threads=int(sys.argv[3]))
print(time.perf_counter() - began, time.process_time() - busy)
tm.save(model, sys.argv[2])
"""
RIVAL = "implicit's ALS"
EFFORTS = ("quick", "standard", "thorough")
METRICS = ("recall@20", "ndcg@20")


def main() -> None:
    parser = parser_of(__doc__, seeds=3, threads=2)
    parser.add_argument(
        "--data", type=Path, help="the folder that holds yelp2018/ (default: TASTEMAKER_DATA)"
    )
    parser.add_argument("--effort", action="append", choices=EFFORTS, help="may be given several times")
    options = parser.parse_args()
    train, test = files(options)
    names = [*(options.effort or EFFORTS), RIVAL]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    quality: dict[str, list[list[float]]] = {name: [] for name in names}
    spectral: dict[str, set[float]] = {name: set() for name in names}
    with tempfile.TemporaryDirectory() as folder:
        compile_kernels(options.threads, Path(folder))
        for seed in range(options.seeds):
            for name in names:
                out = Path(folder) / f"{names.index(name)}-{seed}"
                wall, processor = run(name, train, out, seed, options.threads)
                seconds[name].append(wall)
                busy[name].append(processor)
                model = tm.load(out)
                held_out = tm.read_held_out(test, model.users, model.products).purchases
                report = tm.evaluate(model, held_out, at=[20], threads=options.threads)
                quality[name].append([report.metrics[metric].mean for metric in METRICS])
                if model.record.config is not None:
                    spectral[name].add(model.record.config.memory.spectral_weight or 0.0)
                print(name, seed, wall, processor, quality[name][-1], file=sys.stderr)
    print(markdown(["", "seconds", "times ALS", "processor time", "times ALS", *METRICS, "spectral weight"], [
        [
            name,
            spread(taken, 1),
            "1" if name == RIVAL else spread(ratios(taken, seconds[RIVAL])),
            spread(busy[name], 1),
            "1" if name == RIVAL else spread(ratios(busy[name], busy[RIVAL])),
            *(means([values[m] for values in quality[name]]) for m in range(len(METRICS))),
            ", ".join(f"{weight:g}" for weight in sorted(spectral[name])) or "none",
        ]
        for name, taken in seconds.items()
    ]))  # fmt: skip
    print(
        f"\nyelp2018, {options.threads} threads, {options.seeds} seeds in turns; seconds: median (least–greatest); "
        f"quality: mean over the seeds (least–greatest). {machine()}"
    )


def files(options: argparse.Namespace) -> tuple[Path, Path]:
    folder = options.data or Path(os.environ.get("TASTEMAKER_DATA", ROOT.parent / "shared" / "data"))
    train, test = folder / "yelp2018" / "train.parquet", folder / "yelp2018" / "test.parquet"
    if not (train.is_file() and test.is_file()):
        missing(f"there is no {train} or no {test}; give the folder that holds yelp2018/ as `--data DIR`.")
    return train, test


def compile_kernels(threads: int, folder: Path) -> None:
    """Learn a small shop with long histories, so that no run waits for a compiler."""
    shop = tm.make_shop(users=300, products=400, purchases=12_000).purchases
    settings = tm.preset("default").changed(dimensions=8, epochs=1, horizon=1, spectral_weight=1.0)
    tm.save(tm.train(shop, settings, threads=threads), folder / "compiled")
    tm.train(shop, settings.changed(objective="cosine"), threads=threads)


def run(name: str, train: Path, out: Path, seed: int, threads: int) -> tuple[float, float]:
    """Learn in a process of its own and return the seconds that count, by the clock and of the processors."""
    environment = thread_environment(threads)
    if name == RIVAL:
        command = [sys.executable, "-c", ALS, str(train), str(out), str(threads), str(seed)]
        ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        wall, processor = map(float, ran.stdout.split())
        return wall, processor
    command = [sys.executable, "-m", "tastemaker", "train", str(train), "--out", str(out)]
    command += ["--threads", str(threads), "--seed", str(seed)]
    command += [] if name == "standard" else ["--effort", name]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def means(values: list[float]) -> str:
    low, middle, high = (f"{x:.4f}"[1:] for x in (min(values), statistics.mean(values), max(values)))
    return f"{middle} ({low}–{high})"


if __name__ == "__main__":
    main()
