"""What memory reading a log takes, at once and in pieces on disk: ``python benchmarks/partition.py``.

Writes clustered logs (``benchmarks/scale.py``) of 10 and 40 million purchases of a million users and 100,000 products, and reads
each in a fresh process, at once and by ``partition_log``. What counts is anonymous memory: pages of files that are mapped can be
dropped. Five minutes; ``--millions`` asks for other sizes. ``--text`` reads in pieces a log of 20 million purchases of 10 million
users, two each at some second, whose ids are text of 18 letters: what the ids take.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from common import machine, markdown, parser_of
from scale import MILLION, write_log

READ = """
import json, sys, threading, time
from pathlib import Path
from tastemaker.data.partition.partition import partition_log
from tastemaker.data.reading.readers import read_purchases
peak = [0]
def watch():
    while True:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak[0] = max(peak[0], *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
began = time.perf_counter()
log = read_purchases(sys.argv[1]) if sys.argv[2] == "at once" else partition_log(sys.argv[1], sys.argv[2])
read = time.perf_counter() - began
pairs = len(log.histories().products)
print(json.dumps([peak[0] // 1024, read, pairs]))
"""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--millions", type=int, nargs="+", default=[10, 40], help="purchases")
    parser.add_argument("--text", action="store_true", help="10 million users with ids of text instead")
    options = parser.parse_args()
    if options.text:
        read_text()
        return
    rows = []
    for millions in options.millions:
        with tempfile.TemporaryDirectory() as temporary:
            log = write_log(Path(temporary) / "log", MILLION, 100_000, millions * MILLION)
            found = [run(log, how) for how in ("at once", str(Path(temporary) / "partition"))]
        assert found[0][2] == found[1][2]
        for name, (peak, seconds, _) in zip(("at once", "in pieces"), found, strict=True):
            rows.append([f"{millions} million", name, f"{peak:,.0f}", f"{seconds:.1f}"])
    print(markdown(["purchases", "read", "peak of anonymous memory, MiB", "seconds"], rows))
    print(f"\nA million users, 100,000 products, numbers as ids. {machine()}")


def read_text() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "log"
        log.mkdir()
        for number in range(4):
            rng, count = np.random.default_rng(number), 5 * MILLION
            users = (np.arange(count) + number * count) * 7_919 % (10 * MILLION)
            products = (rng.random(count) ** 3 * 100_000).astype(np.int64)
            times = rng.integers(1_600_000_000, 1_700_000_000, count)
            frame = pl.DataFrame({"user_id": users, "product_id": products, "time": times}).with_columns(
                pl.format("customer-{}", pl.col("user_id").cast(pl.String).str.zfill(9)).alias("user_id"),
                pl.from_epoch("time"),
            )
            frame.write_parquet(log / f"{number:03}.parquet")
        peak, seconds, pairs = run(log, str(Path(temporary) / "partition"))
    print(
        f"10 million users with ids of text, {pairs:,.0f} pairs, in pieces: at most {peak:,.0f} MiB of anonymous memory, "
        f"{seconds:.0f} s. {machine()}"
    )


def run(log: Path, how: str) -> list[float]:
    ended = subprocess.run([sys.executable, "-c", READ, str(log), how], capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    answer: list[float] = json.loads(ended.stdout)
    return answer


if __name__ == "__main__":
    main()
