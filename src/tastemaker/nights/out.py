"""What a night writes beside the model: lists for all users, similar products, vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tastemaker.data.databases.address import is_address
from tastemaker.display import counted
from tastemaker.model.folder import load
from tastemaker.nights.shop_file import ShopFile
from tastemaker.ranking.export.to_file import check_out, spoken_out, write_lists
from tastemaker.ranking.export.vectors import to_parquet
from tastemaker.ranking.packed import pack
from tastemaker.ranking.recommend import recommend, similar

__all__ = ["written"]


def written(shop: ShopFile, version: int, say: Callable[[str], None]) -> dict[str, int]:
    """Write what the shop's file asks for; return the number of lines of each. Whoever reads one sees the old or the new."""
    lists = shop.lists
    if lists.users is None and lists.similar is None and lists.vectors is None:
        return {}
    model = load(shop.folder / str(version))
    packed = pack(model)
    found: dict[str, int] = {}
    threads = shop.learn.threads
    for what, target, ids, rank in (
        ("users", lists.users, model.users.ids, partial(recommend, packed, k=lists.k, threads=threads)),
        ("similar", lists.similar, model.products.ids, partial(similar, packed, k=lists.k, threads=threads)),
    ):
        if target is None:
            continue
        out = check_out(_made(shop.place(target)))
        found[what] = write_lists(ids, rank, out)
        say(f"Wrote {counted(found[what], 'line')} to {spoken_out(out)}.")
    if lists.vectors is not None:
        folder = Path(shop.place(lists.vectors))
        found |= {f"vectors of {noun}": count for noun, count in to_parquet(model, folder).items()}
        say(f"Wrote the vectors to {folder}.")
    return found


def _made(place: str) -> str:
    if not is_address(place):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    return place
