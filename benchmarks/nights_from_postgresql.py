"""A gift shop from PostgreSQL, night by night, with a server under load: ``python benchmarks/nights_from_postgresql.py URI``.

The log of Online Retail without its last days is put into a table of the database (which is replaced), a first night is run, and a
server is started. Then every night the day's lines are added and one run is made, while clients ask the server for lists all the
time. The table says what each night took and found; below it stands what the clients saw, errors and short lists included.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import polars as pl

from common import add_data_options, machine, missing, parser_of
from tastemaker.data.databases.address import Address, address_of
from tastemaker.data.databases.tables import write_table
from tastemaker.nights.run import run_night
from tastemaker.nights.shop_file import read_shop_file

TABLE = "tastemaker_nights"


def main() -> None:
    parser = parser_of(__doc__, nights=10, clients=4)
    parser.add_argument("uri", help="a PostgreSQL database, such as postgresql://shop:secret@127.0.0.1/shop")
    parser.add_argument("--effort", default="quick")
    add_data_options(parser)
    options = parser.parse_args()
    log = read(options)
    days = log["time"].dt.date().unique().sort().to_list()
    if len(days) <= options.nights:
        missing("the log is shorter than the nights that are wanted.")
    with tempfile.TemporaryDirectory(prefix="nights-") as scratch:
        print(run(Path(scratch), log, days[-options.nights :], options))
    print(f"\n{machine()}")


def read(options: argparse.Namespace) -> pl.DataFrame:
    """Return the purchases of known customers."""
    if options.data is None:
        missing("give --data, the folder that holds online_retail/.")
    file = options.data / "online_retail" / "online_retail.parquet"
    if not file.is_file():
        missing(f"{file} is missing.")
    frame = pl.read_parquet(file).filter((pl.col("CustomerID") > 0) & (pl.col("Quantity") > 0))
    return frame.select(
        user_id=pl.col("CustomerID").cast(pl.Int64), product_id=pl.col("StockCode").cast(pl.String),
        time=pl.col("InvoiceDate").cast(pl.Datetime("us")), quantity=pl.col("Quantity").cast(pl.Float64),
    ).sort("time", maintain_order=True)  # fmt: skip


def run(folder: Path, log: pl.DataFrame, days: list[object], options: argparse.Namespace) -> str:
    table = address_of(f"{options.uri}#{TABLE}")
    (folder / "shop.toml").write_text(
        f'[log]\nfrom = "{options.uri}#{TABLE}"\n[learn]\neffort = "{options.effort}"\n'
        f'[lists]\nusers = "{options.uri}#{TABLE}_lists"\nk = 10\n'
    )
    lines = [
        "| night | rows | purchases | questions | ndcg@10 | in service | the run ends | serves | seconds |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|",
    ]
    lines.append(one_night(folder, table, log.filter(pl.col("time").dt.date() < days[0]), "before"))
    users = [str(user) for user in log["user_id"].unique().sort().to_list()]
    with serving(folder / "models") as address, asked(address, users, options.clients) as seen:
        for day in days:
            lines.append(one_night(folder, table, log.filter(pl.col("time").dt.date() <= day), str(day)))
            time.sleep(2)  # the server follows within a second or so
    said = ", ".join(f"{count:,} × {what}" for what, count in sorted(seen.items()))
    return "\n".join(lines) + f"\n\nMeanwhile {options.clients} clients saw: {said}."


def one_night(folder: Path, table: Address, log: pl.DataFrame, name: str) -> str:
    write_table(table, iter([log]))
    clock = log["time"].max() + timedelta(hours=3)
    began = time.perf_counter()
    found = run_night(read_shop_file(folder / "shop.toml"), clock=clock)
    seconds = time.perf_counter() - began
    replay = found.replay or {}
    new, service = ("" if replay.get(key) is None else f"{replay[key]:.4f}" for key in ("new", "service"))
    serves = found.service if found.stopped else found.version
    return (
        f"| {name} | {len(log):,} | {found.figures['purchases']:,} | {replay.get('questions', 0):,} | {new} | {service} "
        f"| {found.outcome} | {serves} | {seconds:.0f} |"
    )


@contextlib.contextmanager
def serving(models: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tastemaker", "serve", str(models), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@contextlib.contextmanager
def asked(address: str, users: list[str], clients: int) -> Iterator[Counter[str]]:
    """Ask for lists until the end; count answers by the version that made them, and what is none."""
    seen: Counter[str] = Counter()
    end, lock = threading.Event(), threading.Lock()

    def ask(first: int) -> None:
        place = first
        while not end.is_set():
            place = (place + clients) % len(users)
            what = answer(f"{address}/api/v1/recommendations/users/{quote(users[place])}")
            with lock:
                seen[what] += 1
            end.wait(0.01)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        end.set()
        for thread in threads:
            thread.join()


def answer(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as found:
            whole = b'"rank":10' in found.read().replace(b" ", b"")
            return (
                f"a list of version {int(found.headers['Model-Version'].rpartition('/')[2]):02}"
                if whole
                else "a short list"
            )
    except (urllib.error.URLError, OSError) as error:
        return f"no answer ({error})"


if __name__ == "__main__":
    main()
