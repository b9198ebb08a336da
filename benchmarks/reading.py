"""How fast logs are read and in how much memory, beside Polars alone: ``python benchmarks/reading.py``.

A log of users, products, times and quantities is written in each format. Three things are then timed in turns, each in a process
of its own: `polars.scan_*` alone, which collects the four columns; *frames*, the same columns by tastemaker, which also looks at
every byte (lines too long, quotes, ragged rows, repeated headers, encoding); and *log*, `read_purchases`, which also decides what
times, ids and quantities mean and numbers the ids. ``--rows 100000000 --formats csv,parquet --rounds 1`` is the log larger than
memory, whose Parquet lies in ten parts.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from common import machine, markdown, parser_of, ratios

COLUMNS = ["user_id", "product_id", "timestamp", "quantity"]
PART = 10_000_000
ENDINGS = {
    "csv": ".csv",
    "csv.gz": ".csv.gz",
    "csv.zst": ".csv.zst",
    "json lines": ".jsonl",
    "parquet": ".parquet",
    "arrow": ".arrow",
}


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "--work":
        work(*sys.argv[2:])
        return
    parser = parser_of(__doc__, rows=10_000_000, rounds=3)
    parser.add_argument("--formats", default=",".join(ENDINGS), help=f"of {', '.join(ENDINGS)}")
    parser.add_argument(
        "--into", type=Path, help="where the files are written; a temporary folder by default"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="reading-", dir=options.into))
    try:
        lines = [measured(folder, form, options.rows, options.rounds) for form in options.formats.split(",")]
    finally:
        shutil.rmtree(folder)
    print(f"**{options.rows:,} rows**\n")
    print(
        markdown(
            ["format", "file, MiB", "polars, M rows/s", "peak, MiB", "frames, M rows/s", "of polars", "peak, MiB",
             "log, M rows/s", "of polars", "peak, MiB"],
            lines,
        )
    )  # fmt: skip
    print(f"\n{machine()}")


def measured(folder: Path, kind: str, rows: int, rounds: int) -> list[str]:
    path = write(folder, kind, rows)
    size = sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
    found: dict[str, list[dict[str, float]]] = {how: [] for how in ("polars", "frames", "log")}
    for _ in range(rounds):
        for how, answers in found.items():
            answers.append(ask(how, kind, path))
    seconds = {how: [answer["seconds"] for answer in answers] for how, answers in found.items()}
    peaks = {how: f"{max(answer['peak'] for answer in answers):,.0f}" for how, answers in found.items()}
    speed = {how: f"{rows / statistics.median(times) / 1e6:.2f}" for how, times in seconds.items()}
    share = {
        how: f"{statistics.median(ratios(seconds['polars'], seconds[how])):.0%}" for how in ("frames", "log")
    }
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return [kind, f"{size / 2**20:,.0f}", speed["polars"], peaks["polars"], speed["frames"], share["frames"], peaks["frames"],
            speed["log"], share["log"], peaks["log"]]  # fmt: skip


def ask(how: str, kind: str, path: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", how, kind, str(path)]
    answer: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return answer


def work(how: str, kind: str, path: str) -> None:
    """Read once, and say how long it took and how much memory the process held at most."""
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.data.reading.sources import open_source

    began = time.perf_counter()
    if how == "polars":
        scan(kind, Path(path)).select(COLUMNS).collect(engine="streaming")
    elif how == "frames":
        opened = open_source(path)  # what it unpacked lasts as long as it does
        opened.select(COLUMNS).collect(engine="streaming")
    else:
        read_purchases(path)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": peak()}))


def peak() -> float:
    """Return the most memory that this process held, in MiB; what Linux counts as its own begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            / 2**10
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def scan(kind: str, path: Path) -> pl.LazyFrame:
    if kind.startswith("csv"):
        return pl.scan_csv(path)
    if kind == "json lines":
        return pl.scan_ndjson(path)
    return pl.scan_parquet(path) if kind == "parquet" else pl.scan_ipc(path)


def write(folder: Path, kind: str, rows: int) -> Path:
    """Write the log of some rows, in parts where Parquet is larger than one."""
    rng = np.random.default_rng(0)
    path = folder / f"log{ENDINGS[kind]}"
    starts = range(0, rows, PART)
    if kind == "parquet" and len(starts) > 1:
        path.mkdir()
        for place, start in enumerate(starts):
            part(rng, start, min(PART, rows - start)).write_parquet(path / f"part-{place:05}.parquet")
        return path
    with path.open("wb") as file:
        for start in starts:
            frame = part(rng, start, min(PART, rows - start))
            _write(frame, file, kind, header=start == 0)
    return path


def _write(frame: pl.DataFrame, file: Any, kind: str, *, header: bool) -> None:
    if kind == "csv":
        frame.write_csv(file, include_header=header)
    elif kind.startswith("csv."):
        file.write(packed(frame.write_csv(include_header=header).encode(), kind))
    elif kind == "json lines":
        frame.write_ndjson(file)
    else:
        frame.write_parquet(file) if kind == "parquet" else frame.write_ipc(file)


def packed(content: bytes, kind: str) -> bytes:
    import gzip

    if kind == "csv.gz":
        return gzip.compress(content, compresslevel=1)
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return bytes(zstd.compress(content))


def part(rng: np.random.Generator, start: int, rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": (rng.random(rows) ** 2 * 1_000_000).astype(np.int64),
            "product_id": (rng.random(rows) ** 3 * 100_000).astype(np.int64),
            "timestamp": 1_600_000_000 + start + np.sort(rng.integers(0, rows, rows)),
            "quantity": rng.integers(1, 6, rows),
        }
    )


if __name__ == "__main__":
    main()
