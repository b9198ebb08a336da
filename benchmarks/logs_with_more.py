"""Write the logs of docs/benchmarks.md, "More than pairs": ``python benchmarks/logs_with_more.py INTO``.

Each log becomes ``NAME_train.parquet`` and ``NAME_later.parquet`` (the last tenth of its time) and ``NAME_products.parquet``:
every product of the log, with the first description of it where there is one.
"""

import os
import sys
from pathlib import Path

import polars as pl

DATA = Path(os.environ.get("TASTEMAKER_DATA", "../shared/data"))


def parted(name: str, log: pl.DataFrame, time: str, into: Path) -> None:
    """Write a log in two parts: before and after nine tenths of the time spanned."""
    low, high = log[time].min(), log[time].max()
    cut = low + (high - low) * 0.9
    log.filter(pl.col(time) <= cut).write_parquet(into / f"{name}_train.parquet")
    log.filter(pl.col(time) > cut).write_parquet(into / f"{name}_later.parquet")


def rent_the_runway(into: Path) -> None:
    """Write rentals, with the category of each product."""
    log = pl.read_parquet(DATA / "rent_the_runway/rentals.parquet")
    log = log.with_columns(pl.col("review_date").cast(pl.Date))
    first = log.group_by("item_id").agg(pl.col("category").first()).sort("item_id")
    first.write_parquet(into / "rent_the_runway_products.parquet")
    parted("rent_the_runway", log, "review_date", into)


def online_retail(into: Path) -> None:
    """Write invoice lines of known customers, with the first name and price of each product."""
    log = pl.read_parquet(DATA / "online_retail/online_retail.parquet").filter(pl.col("CustomerID") != 0)
    if log["InvoiceDate"].dtype == pl.String:
        log = log.with_columns(pl.col("InvoiceDate").str.to_datetime())
    log = log.with_columns(pl.col("InvoiceDate").cast(pl.Datetime("us")))
    first = log.sort("InvoiceDate", maintain_order=True).group_by("StockCode", maintain_order=True)
    described = first.agg(pl.col("Description").first(), pl.col("UnitPrice").first()).sort("StockCode")
    described.write_parquet(into / "online_retail_products.parquet")
    parted("online_retail", log.select("CustomerID", "StockCode", "InvoiceDate"), "InvoiceDate", into)


def retailrocket(into: Path) -> None:
    """Write views, baskets and purchases."""
    log = pl.read_parquet(DATA / "retailrocket_small/events.parquet")
    log.select(pl.col("product_id").unique().sort()).write_parquet(into / "retailrocket_products.parquet")
    log.select(pl.col("user_id").unique().sort()).write_parquet(into / "retailrocket_users.parquet")
    parted("retailrocket", log, "time", into)


def main(folder: Path) -> None:
    """Write all logs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for write in (rent_the_runway, online_retail, retailrocket):
        write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
