"""A newcomer's walk, from nothing to a served model: ``python benchmarks/first_hour.py``.

A fresh virtual environment, the README's install, a cold cache of kernels; then the tutorial's steps on a CSV with columns of
other names and dates with the day first. Each step runs as its reader would run it, and what it gives is checked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from common import machine, markdown, parser_of

ROOT = Path(__file__).parents[1]
EXPORT = """
import polars as pl
log = pl.read_parquet("shop/purchases.parquet")
log.select(
    pl.col("time").dt.strftime("%d/%m/%Y %H:%M").alias("Order date"),
    pl.col("user_id").alias("Client"),
    pl.col("product_id").alias("Article"),
    pl.col("quantity").alias("Qty"),
).write_csv("orders.csv", separator=";")
"""
NOTEBOOK = """
import tastemaker as tm
log = tm.read_purchases("orders.csv")
split = tm.hold_out_time(log, 0.1)
model = tm.train(split.train, progress=False)
model._repr_html_()
print(tm.evaluate(model, split, at=10).metrics["ndcg@10"])
print(tm.recommend(model, "c-000017", k=5, catalogue="shop/products.parquet").to_frame(["name"]))
tm.save(model, "models/recommender/3", overwrite=True)
"""
LIST = "tastemaker recommend models/recommender/1 --catalogue shop/products.parquet"
PARTS = "parts/train.csv parts/later.csv"
STEPS = (
    ("the demo: lists and a measurement, kernels compiled", "tastemaker demo --out shop", "would buy next"),
    ("the same again", "tastemaker demo", "would buy next"),
    ("`inspect` a CSV of one's own", "tastemaker inspect orders.csv", "user 'Client', product 'Article'"),
    ("`split` it by time", "tastemaker split orders.csv --last 10% --into parts", "parts/later.csv"),
    ("`train`, settings chosen", "tastemaker train parts/train.csv --out models/recommender/1", "Wrote models"),
    ("a list with names, kernels for models on disk compiled", f"{LIST} --user c-000017", "c-000017"),
    ("another", f"{LIST} --user c-000018", "c-000018"),
    ("`evaluate`", "tastemaker evaluate models/recommender/1 parts/later.csv", "ndcg"),
    ("`compare` with all baselines, a report", f"tastemaker compare {PARTS} --report compared.html", "is better than"),
)  # fmt: skip


def main() -> None:
    parser_of(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = walk(Path(folder))
    print(markdown(["step", "seconds", "since the start"], rows))
    print(f"\nOne walk; the shop of the demo, 40,000 purchases. {machine()}")


def walk(work: Path) -> list[list[str]]:
    """Take every step in a folder, and return what each took."""
    began, rows = time.perf_counter(), []
    inside = os.environ | {
        "PATH": f"{work}/venv/bin:{os.environ['PATH']}",
        "NUMBA_CACHE_DIR": str(work / "numba"),
        "COLUMNS": "80",
    }

    def step(name: str, command: list[str] | str, wanted: str = "") -> None:
        start = time.perf_counter()
        done = subprocess.run(
            command, shell=isinstance(command, str), cwd=work, env=inside, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode or wanted not in done.stdout:
            sys.exit(f"{name}: exit {done.returncode}\n{done.stdout}")
        note(name, start)

    def note(name: str, start: float) -> None:
        now = time.perf_counter()
        rows.append([name, f"{now - start:.1f}", f"{now - began:.0f}"])

    step("a virtual environment", [sys.executable, "-m", "venv", "venv"])
    step("`pip install .`", ["venv/bin/pip", "install", "--quiet", str(ROOT)])
    for number, (name, command, wanted) in enumerate(STEPS):
        step(name, command, wanted)
        if number == 0:
            subprocess.run(["venv/bin/python", "-c", EXPORT], cwd=work, env=inside, check=True)
    start = time.perf_counter()
    command = [
        "venv/bin/tastemaker",
        "serve",
        "models",
        "--catalogue",
        "shop/products.parquet",
        "--port",
        "0",
        "--quiet",
    ]
    server = subprocess.Popen(
        command, cwd=work, env=inside, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        address = server.stdout.readline().split()[-1] if server.stdout else ""
        url = f"{address}/api/v1/recommendations/users/c-000017?k=5&why=true"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert len(json.load(answer)["recommendations"]) == 5
        note("`serve`, to the first answer", start)
    finally:
        server.terminate()
        server.wait()
    step(
        "a notebook's cells: read, split, train, measure, recommend, save",
        ["venv/bin/python", "-c", NOTEBOOK],
        "mean=",
    )
    return rows


if __name__ == "__main__":
    main()
