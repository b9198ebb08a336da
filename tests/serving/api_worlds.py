"""A small shop for the tests of the API: a model, a catalogue, keys and a file of events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from serving_worlds import PRODUCTS, make_model, product_id

from tastemaker.model.folder import save
from tastemaker.serving.front.api_keys import new_key
from tastemaker.serving.front.settings import Settings

NEW = 5
"""A product that the catalogue has and the model does not"""


@dataclass(frozen=True)
class ApiWorld:
    folder: Path
    settings: Settings
    key: str
    reader: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def catalogue() -> pl.DataFrame:
    """Product of row r: brand a, b, c in turn, price r, category x or y in turn, every fifth out of stock."""
    rows = range(PRODUCTS + 1)
    return pl.DataFrame(
        {
            "product_id": [*map(product_id, range(PRODUCTS)), NEW],
            "name": [f"Hat {row} <script>" for row in rows],
            "brand": ["abc"[row % 3] for row in rows],
            "price": [float(row) for row in rows],
            "category": ["xy"[row % 2] for row in rows],
            "in_stock": [row % 5 > 0 for row in rows],
        }
    )


def api_world(folder: Path) -> ApiWorld:
    save(make_model(1), folder / "models" / "recommender" / "1")
    catalogue().write_parquet(folder / "catalogue.parquet")
    _, key = new_key(folder / "keys.json", "admin")
    _, reader = new_key(folder / "keys.json", "read")
    settings = Settings(
        models=folder / "models",
        catalogue=folder / "catalogue.parquet",
        keys=folder / "keys.json",
        events=folder / "events.db",
        log_requests=False,
        poll_seconds=60,
    )
    return ApiWorld(folder, settings, key, reader)
