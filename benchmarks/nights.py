"""Simulated nights of a shop that grows, changes its fashion and has accidents: ``python benchmarks/nights.py``.

A synthetic shop sells for two months, and then night after night. Its log are two files, of its web shop and of its stores.
Customers and products join, half of the fashion turns within three days, a feed stops, another is lost, a night is scrambled, ids
change their kind, somebody sets a worse model, a run is killed while it learns. Each night is one run. What it must end with is
known beforehand, and the exit code is 1 where one ends otherwise, or where a version answers that should not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from common import machine, parser_of
from tastemaker.errors import TastemakerError
from tastemaker.nights.run import run_night
from tastemaker.nights.shop_file import read_shop_file
from tastemaker.serving.models.labels import read_labels

START = datetime(2024, 3, 1, tzinfo=UTC)
DAYS_BEFORE = 60
STYLES = 8
SETTINGS = 'effort = "quick"\nsettings = { dimensions = 16, epochs = 6, "memory.count_weight" = 1.0 }\n'
WORSE = """effort = "quick"
settings = { dimensions = 1, epochs = 1, learning_rate = 0.0001, "memory.count_weight" = 0.0, "memory.ridge_weight" = 0.0,
  "memory.directed_weight" = 0.0, "memory.spectral_weight" = 0.0, "trend.weight" = 0.0, "live.rate" = 0.0 }
""".replace(",\n ", ",")
PUBLISHED = "published"


@dataclass(frozen=True)
class Size:
    """How much the shop sells at the beginning."""

    users: int
    products: int
    a_day: int


LARGE, SMALL = Size(2_000, 300, 1_000), Size(300, 80, 120)


class Shop:
    """Who buys what: users have a few styles, products one; a fashion says how much each style sells."""

    def __init__(self, size: Size, seed: int) -> None:
        self.size, self.rng = size, np.random.default_rng(seed)
        self.tastes = np.zeros((0, STYLES))
        self.styles, self.weights = np.zeros(0, np.int64), np.zeros(0)
        self.fashion = np.ones(STYLES)
        self.join(size.users, size.products)

    def join(self, users: int, products: int) -> None:
        """Let new customers join, and new products, which sell as well as the others."""
        self.tastes = np.vstack([self.tastes, self.rng.dirichlet(np.full(STYLES, 0.15), users)])
        self.styles = np.concatenate([self.styles, self.rng.integers(0, STYLES, products)])
        self.weights = np.concatenate([self.weights, self.rng.pareto(1.5, products) + 0.2])

    def day(self, number: int, busy: float = 1.0) -> pl.DataFrame:
        """Return what is sold on a day."""
        rng, count = self.rng, int(self.size.a_day * busy)
        users = rng.integers(0, len(self.tastes), count)
        wanted = self.tastes[users] * self.fashion
        totals = np.cumsum(wanted, axis=1)
        styles = (rng.random(count)[:, None] * totals[:, -1:] > totals).sum(axis=1)
        products = np.zeros(count, np.int64)
        for style in range(STYLES):
            places, there = np.flatnonzero(styles == style), np.flatnonzero(self.styles == style)
            share = self.weights[there] / self.weights[there].sum()
            products[places] = rng.choice(there, len(places), p=share)
        seconds = np.sort(rng.integers(0, 86_400, count))
        times = [START + timedelta(days=number, seconds=int(second)) for second in seconds]
        frame = pl.DataFrame({"user_id": users, "product_id": products + 10_000, "time": times})
        return frame.with_columns(
            pl.format("u{}", pl.col("user_id").cast(pl.String).str.zfill(6)).alias("user_id"),
            pl.Series("feed", rng.random(count) < 0.7),
        )


@dataclass(frozen=True)
class Accident:
    """What is wrong with a night, and how its run must end."""

    says: str
    ends: tuple[str, ...]
    """The outcomes that are right"""
    spoil: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame] | None = None
    """What becomes of the log (before tonight, tonight)"""
    settings: str = SETTINGS
    lost: bool = False
    """Whether the stores' file is gone"""
    killed: bool = False


def scrambled(before: pl.DataFrame, tonight: pl.DataFrame) -> pl.DataFrame:
    """Return the log with other products tonight: a join went wrong."""
    known = before["product_id"].unique().sort()
    other = known.sample(fraction=1.0, shuffle=True, seed=5)
    return pl.concat([before, tonight.with_columns(pl.col("product_id").replace(known, other))])


def with_texts(before: pl.DataFrame, tonight: pl.DataFrame) -> pl.DataFrame:
    """Return the log with a letter before the number of every product."""
    return pl.concat([before, tonight]).with_columns(product_id="p" + pl.col("product_id").cast(pl.String))


ACCIDENTS = {
    "web only": Accident("the stores' feed stopped a month ago", ("out of bounds",),
                         lambda before, tonight: pl.concat([before, tonight]).filter(pl.col("feed") | (pl.col("time") < START))),
    "lost": Accident("the stores' file is gone", ("failed",), lost=True),
    "scrambled": Accident("tonight's products are scrambled", ("out of bounds", "worse"), scrambled),
    "ids": Accident("ids of products became texts", ("out of bounds",), with_texts),
    "worse": Accident("somebody set a worse model", ("worse",), settings=WORSE),
    "killed": Accident("the run is killed while it learns, and run again", (PUBLISHED,), killed=True),
    "twice": Accident("the log holds every row twice, and thrice", ("out of bounds",),
                      lambda before, tonight: pl.concat([before, tonight] * 3)),
}  # fmt: skip

LONG = {7: "web only", 8: "lost", 13: "scrambled", 15: "ids", 17: "worse", 19: "killed", 21: "twice"}
SHORT = {
    4: "lost",
    6: "scrambled",
    7: "killed",
    10: "web only",
    13: "ids",
    16: "worse",
    19: "twice",
    22: "killed",
}
"""Accidents by the night"""


def main() -> None:
    parser = parser_of(__doc__, nights=24, seed=0)
    parser.add_argument(
        "--small", action="store_true", help="a shop of 300 customers, and its accidents early"
    )
    parser.add_argument("--json", action="store_true", help="print the nights as JSON")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="keep the shop's folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nights-") as scratch:
        folder = options.into or Path(scratch)
        nights = simulate(folder, options)
    wrong = [night for night in nights if not night["right"]]
    print(json.dumps(nights) if options.json else table(nights))
    if not options.json:
        print(f"\n{len(nights)} nights, {len(wrong)} ended otherwise than they must. {machine()}")
    sys.exit(1 if wrong else 0)


def simulate(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all nights; return what became of each."""
    folder.mkdir(parents=True, exist_ok=True)
    size = SMALL if options.small else LARGE
    shop, accidents = Shop(size, options.seed), SHORT if options.small else LONG
    log = pl.concat([shop.day(day - DAYS_BEFORE) for day in range(DAYS_BEFORE)])
    nights: list[dict[str, Any]] = []
    for number in range(1, options.nights + 1):
        happens, busy = life(shop, number, options.small)
        tonight = shop.day(number - 1, busy)
        accident = ACCIDENTS[accidents[number]] if number in accidents else Accident("", (PUBLISHED,))
        before = stable(folder)
        ended = one_night(folder, log, tonight, accident, START + timedelta(days=number))
        log = pl.concat([log, tonight])
        now = stable(folder)
        moved = ended["outcome"] == PUBLISHED
        right = ended["outcome"] in accident.ends and (now == ended["version"] if moved else now == before)
        nights.append(
            {"night": number, "happens": accident.says or happens, "serves": now, "right": right, **ended}
        )
    return nights


def life(shop: Shop, number: int, small: bool) -> tuple[str, float]:
    """Let the shop live on; return what happens, in words, and how busy the day is."""
    shop.join(max(1, shop.size.users // 100), 0)
    if number == (2 if small else 4):
        shop.join(shop.size.users // 4, 0)
        return "a campaign: a quarter more customers, three times the sales", 3.0
    if number in ((3, 20) if small else (10, 11, 12)):
        shop.fashion[: STYLES // 2] *= 3.0
        shop.join(0, shop.size.products // 20)
        return "half of the fashion turns, with new products", 1.2
    return "", 1.0


def one_night(
    folder: Path, log: pl.DataFrame, tonight: pl.DataFrame, accident: Accident, clock: datetime
) -> dict[str, Any]:
    """Write the shop's files as they are tonight, and run."""
    whole = pl.concat([log, tonight]) if accident.spoil is None else accident.spoil(log, tonight)
    for name, part in (("web", pl.col("feed")), ("stores", ~pl.col("feed"))):
        whole.filter(part).drop("feed").write_parquet(folder / f"{name}.parquet")
    if accident.lost:
        (folder / "stores.parquet").unlink()
    file = folder / "shop.toml"
    file.write_text(
        f'[log]\nfrom = ["web.parquet", "stores.parquet"]\n[replay]\nfewest_questions = 20\n[learn]\n{accident.settings}'
    )
    if accident.killed:
        kill_while_it_learns(file)
    try:
        run = run_night(read_shop_file(file), clock=clock)
    except TastemakerError as error:
        said = str(error).replace(str(folder), "…")
        return {
            "outcome": "failed",
            "version": None,
            "purchases": None,
            "new": None,
            "service": None,
            "why": said,
        }
    replay = run.replay or {}
    return {
        "outcome": run.outcome,
        "version": run.version,
        "purchases": (run.figures or {}).get("purchases"),
        "new": replay.get("new"),
        "service": replay.get("service"),
        "why": " ".join(run.why),
    }


def kill_while_it_learns(file: Path) -> None:
    """Start a run as a shop does, and kill it when it has said that it learns."""
    command = [sys.executable, "-m", "tastemaker", "run", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Learning"):
                process.send_signal(signal.SIGKILL)
                break


def stable(folder: Path) -> int | None:
    models = folder / "models" / "recommender"
    return read_labels(models).versions.get("stable") if models.is_dir() else None


def table(nights: list[dict[str, Any]]) -> str:
    lines = [
        "| night | what happens | purchases | the run ends | serves | ndcg@10 | why |",
        "|--:|---|--:|---|--:|--:|---|",
    ]
    for night in nights:
        purchases = "" if night["purchases"] is None else f"{night['purchases']:,}"
        quality = "" if night["new"] is None else f"{night['new']:.3f}"
        why = night["why"].partition("; ")[0] if night["outcome"] != PUBLISHED else ""
        ended = night["outcome"] if night["right"] else f"**{night['outcome']}**"
        lines.append(
            f"| {night['night']} | {night['happens']} | {purchases} | {ended} | {night['serves']} | {quality} | {why} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
