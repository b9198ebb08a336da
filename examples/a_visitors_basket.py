"""Recommendations for a visitor whom the log has never seen, from the products in their basket.

Run it: `python examples/a_visitors_basket.py`.
"""

from __future__ import annotations

import tastemaker as tm

shop = tm.make_shop(users=1_500, products=400, purchases=15_000)
model = tm.train(shop.purchases, tm.preset("default"))
names = dict(zip(shop.catalogue["product_id"], shop.catalogue["name"], strict=True))

baskets = [
    shop.catalogue.filter(style=style)["product_id"].head(2).to_list() for style in ("glam", "streetwear")
]
lists = tm.recommend_baskets(model, [*baskets, []], k=4)

for number, basket in enumerate([*baskets, []]):
    print("Basket:", ", ".join(names[product] for product in basket) or "empty (best sellers)")
    for product, score in lists.of(number):
        print(f"    {score:6.3f}  {names[product]}")
        assert product not in basket
