"""What a night writes beside the model: lists for all users, similar products, vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl

from tastemaker.data.databases.address import Address, address_of, is_address
from tastemaker.display import counted
from tastemaker.model.folder import load
from tastemaker.nights.shop_file import ShopFile
from tastemaker.ranking.export.parts import ListJob, write_parts
from tastemaker.ranking.export.to_file import check_out, spoken_out, write_frames, write_lists
from tastemaker.ranking.export.vectors import to_parquet, to_pgvector
from tastemaker.ranking.packed import pack
from tastemaker.ranking.recommend import recommend, similar
from tastemaker.scale.where import executor_of

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
        if shop.learn.workers == "local":
            found[what] = write_lists(ids, rank, out)
        else:
            found[what] = _by_workers(shop, version, what, out, say)
        say(f"Wrote {counted(found[what], 'line')} to {spoken_out(out)}.")
    if lists.vectors is not None:
        place = shop.place(lists.vectors)
        if is_address(place):
            address = address_of(place)
            counts, where = to_pgvector(model, address), f"{address.label}#{address.table or 'vectors'}"
        else:
            counts, where = to_parquet(model, Path(place)), place
        found |= {f"vectors of {noun}": count for noun, count in counts.items()}
        say(f"Wrote the vectors to {where}.")
    return found


def _by_workers(
    shop: ShopFile, version: int, what: str, out: Path | Address, say: Callable[[str], None]
) -> int:
    """Let the shop's workers make the lists in parts, then write these where they belong; the lines are those of one process."""
    folder = shop.state / "work" / f"lists-{version}-{what}"
    rows: Literal["users", "products"] = "users" if what == "users" else "products"
    job = ListJob(str(shop.folder / str(version)), rows, shop.lists.k)
    done = write_parts(job, folder, executor_of(shop.learn.workers, shop.learn.threads))
    say(f"{done.tally.sentence() or 'Nothing was left to do'}.")
    return write_frames(map(pl.read_parquet, sorted(folder.glob("part-*.parquet"))), out)


def _made(place: str) -> str:
    if not is_address(place):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    return place
