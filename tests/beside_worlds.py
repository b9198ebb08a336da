"""A shop in which the occasion decides what is bought, and in which what was viewed is bought next."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_purchases

OCCASIONS = ("wedding", "office", "beach", "sport")
EACH = 12
"""Products of each occasion; the last two of them are never sold in train."""
CATALOGUE = pl.DataFrame(
    {
        "product_id": [f"{occasion}-{number:02d}" for occasion in OCCASIONS for number in range(EACH)],
        "made_for": [occasion for occasion in OCCASIONS for _ in range(EACH)],
    }
)
READING = Reading(
    event_column="event",
    events={"purchase": ("purchase",), "view": ("view",)},
    context=("occasion",),
    product_features=("made_for",),
)


def events(users=220, each=4, seed=3):
    """Return views and purchases: every other buyer views the product an hour before, and each has an occasion, drawn anew."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        for _ in range(each):
            occasion = OCCASIONS[rng.integers(len(OCCASIONS))]
            product = f"{occasion}-{rng.integers(EACH - 2):02d}"
            hour = int(rng.integers(24 * 200))
            if rng.random() < 0.5:
                rows.append((f"u{user}", product, hour, "view", occasion))
            rows.append((f"u{user}", product, hour + 1, "purchase", occasion))
    frame = pl.DataFrame(rows, schema=["user_id", "product_id", "hour", "event", "occasion"], orient="row")
    start = pl.lit(1_704_067_200_000_000)
    return frame.select(
        "user_id",
        "product_id",
        (start + pl.col("hour") * 3_600_000_000).cast(pl.Datetime("us")).alias("time"),
        "event",
        "occasion",
    ).sort("time")


def log_of(frame=None, reading=READING):
    """Return the log as it is read."""
    return read_purchases(events() if frame is None else frame, products=CATALOGUE, reading=reading)
