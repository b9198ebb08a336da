"""Lists for all users as one frame, as a nightly job would write them, and what they share.

Run it: `python examples/lists_for_everyone.py`.

(`tastemaker recommend FOLDER --all-users --out lists.parquet` does it block by block, for any number of users.)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

import tastemaker as tm

shop = tm.make_shop(users=1_500, products=400, purchases=15_000)
model = tm.train(shop.purchases, tm.preset("default"))
lists = tm.recommend(model, model.users.ids, k=10).to_frame()

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "lists.parquet"
    lists.write_parquet(file)
    lists = pl.read_parquet(file)

print(lists.head(3))
print(f"{lists['product_id'].n_unique()} of {len(model.products)} products stand in a list of 10.")

bought = pl.DataFrame(
    {
        "user_id": shop.purchases.users.at(shop.purchases.user_rows),
        "product_id": shop.purchases.products.at(shop.purchases.product_rows),
    }
)
assert lists.join(bought, on=["user_id", "product_id"]).is_empty()  # nobody is shown what they have
