"""Lists of chosen users, ranked by the workers of an executor, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tastemaker.model.folder import MANIFEST, load
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.narrowed import narrowed_products
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.packed import by_value
from tastemaker.ranking.rank import rank_users
from tastemaker.ranking.top_k import Candidates
from tastemaker.scale.executor import Executor, Tally
from tastemaker.types import Rows

__all__ = ["rank_blocks"]

LINES_A_BLOCK = 1 << 20
"""About how many lines one block has; it depends on nothing else, so that the blocks are the same everywhere."""


@dataclass(frozen=True, slots=True)
class Block:
    """One task: users of a model in a folder."""

    folder: str
    mark: bytes
    """The model's manifest, so that a worker sees when another model stands there"""
    value_dial: float | None
    users: Rows
    """``int32[n]``"""
    k: int
    include_purchased: bool
    threads: int | None


def rank_blocks(
    users: Rows,
    k: int,
    *,
    folder: Path,
    executor: Executor,
    include_purchased: bool = False,
    value_dial: float | None = None,
    tally: Tally | None = None,
) -> RankedLists:
    """Return the lists, k long, of the users at these rows, ``int32[Q]``: those of `rank_users`, whoever ranks.

    Workers read the model from its folder. ``value_dial`` as in `by_value`; ``tally`` counts who did what.
    """
    size = max(1, LINES_A_BLOCK // k)
    mark = (folder / MANIFEST).read_bytes()
    blocks = [
        Block(
            str(folder.absolute()), mark, value_dial, users[low : low + size], k, include_purchased, executor.threads
        )
        for low in range(0, len(users), size)
    ]  # fmt: skip
    parts = executor.run(rank_block, blocks, on_done=Tally() if tally is None else tally)
    return RankedLists.joined(parts)


def rank_block(block: Block) -> RankedLists:
    """Rank for the users of one block."""
    model, candidates = _ready(block.folder, block.mark, block.value_dial, block.k)
    return rank_users(
        model,
        block.users,
        candidates,
        k=block.k,
        include_purchased=block.include_purchased,
        threads=block.threads,
    )


@lru_cache(maxsize=1)
def _ready(folder: str, mark: bytes, value_dial: float | None, k: int) -> tuple[TasteModel, Candidates]:
    """Return a model with its products packed; a worker does it once, for all blocks of one model."""
    model = load(folder)
    if value_dial is not None:
        model = by_value(model, value_dial)
    return model, narrowed_products(model, k)
