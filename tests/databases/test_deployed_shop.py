"""``deploy/shop.toml`` is a night of a shop whose database has ``deploy/postgres/schema.sql``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import tastemaker as tm

DEPLOY = Path(__file__).parents[2] / "deploy"


def asked(uri: str, query: str) -> list[tuple]:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall() if cursor.description else []
        connection.commit()
        return found


def test_the_shop_of_the_compose_file_gets_a_model_and_lists_from_a_real_postgresql(postgresql, tmp_path):
    for statement in (DEPLOY / "postgres" / "schema.sql").read_text().split(";"):
        if statement.strip():
            asked(postgresql, statement)
    shop = tm.make_shop(users=150, products=300, purchases=1_500)
    rows = [
        f"('{user}', '{product}', timestamptz '2026-01-01' + interval '{number} minutes')"
        for number, (user, product) in enumerate(
            zip(
                shop.purchases.users.ids.gather(shop.purchases.user_rows),
                shop.purchases.products.ids.gather(shop.purchases.product_rows),
                strict=True,
            )
        )
    ]
    asked(postgresql, f"INSERT INTO purchases (customer_id, product_id, bought_at) VALUES {', '.join(rows)}")
    asked(
        postgresql,
        "INSERT INTO products (product_id, category, brand) SELECT DISTINCT product_id, 'c' || right(product_id, 1), 'b' "
        "FROM purchases",
    )
    shutil.copy(DEPLOY / "shop.toml", tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "tastemaker", "run", "shop.toml"],
        cwd=tmp_path,
        env=os.environ | {"SHOP_DATABASE": postgresql, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "models" / "recommender" / "1" / "manifest.json").is_file()
    users = {user for (user,) in asked(postgresql, "SELECT DISTINCT user_id FROM lists")}
    assert users == {user for (user,) in asked(postgresql, "SELECT DISTINCT customer_id FROM purchases")}
