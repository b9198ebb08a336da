"""`evaluate`: a model and what its users bought later in, a `Report` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.reading.given import AnyHeldOut, held_out_given
from tastemaker.data.reading.remedies import told_to_caller
from tastemaker.evaluation.protocol import Report, report_of, those_with_held_out
from tastemaker.evaluation.sampled import Workshop, sampled_accuracy
from tastemaker.kernels.learning.sampling import draw_uniform, stream_key
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.narrowed import narrowed_products
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.rank import rank_users
from tastemaker.ranking.scores import score_rows
from tastemaker.types import Rows

__all__ = ["WORKSHOP_NEGATIVES", "evaluate", "evaluate_ranked", "rank_held_out", "report_on"]

WORKSHOP_NEGATIVES = 100


def evaluate(
    model: TasteModel,
    held_out: AnyHeldOut,
    *,
    at: int | Sequence[int] = (10, 20, 100),
    include_purchased: bool = False,
    seed: int = 0,
    threads: int | None = None,
) -> Report:
    """Rank the whole catalogue for every user with a held-out purchase, and measure the lists.

    ``held_out`` may be a file, a frame, what `read_held_out` or `read_purchases` read, or a split; ids are what counts. Purchases
    of users whom the model does not know are left out; products that it does not know count as missed. The report counts both.
    What a user bought in train is left out of their list unless ``include_purchased``. ``at`` are the lengths of the lists.

    Raises `NoPurchases` when the model knows none of the users, and what `read_held_out` raises.

    >>> import polars as pl
    >>> import tastemaker as tm
    >>> log = [["ann", "hat"], ["ann", "sock"], ["bob", "hat"], ["cat", "sock"]]
    >>> model = tm.best_sellers(pl.DataFrame(log, schema=["user", "product"], orient="row"))
    >>> later = pl.DataFrame([["bob", "sock"], ["zoe", "hat"]], schema=["user", "product"], orient="row")
    >>> report = tm.evaluate(model, later, at=1)
    >>> report.metrics["recall@1"].mean, report.unknown_user_rows
    (1.0, 1)
    """
    at = [at] if isinstance(at, int) else at
    with told_to_caller():
        given = held_out_given(held_out, model.users, model.products)
    lists, wanted = rank_held_out(
        model, given.purchases, k=max(at), include_purchased=include_purchased, threads=threads
    )
    report = report_on(model, given.purchases, lists, wanted, at=at, seed=seed, threads=threads)
    return replace(
        report,
        unknown_user_rows=given.unknown_user_rows,
        unknown_product_rows=given.unknown_product_rows,
    )


def evaluate_ranked(
    model: TasteModel,
    held_out: Purchases,
    rank: Callable[[Rows, int], RankedLists],
    *,
    at: Sequence[int],
    seed: int = 0,
    threads: int | None = None,
) -> Report:
    """Return the report of `evaluate` on lists that somebody else ranks: ``rank(users, k)`` for users at rows ``int32[Q]``.

    It is the same report, to the bit, where the lists are those of `rank_users`, as those of `rank_blocks` are.
    """
    users, wanted = those_with_held_out(held_out.histories())
    return report_on(model, held_out, rank(users, max(at)), wanted, at=at, seed=seed, threads=threads)


def report_on(
    model: TasteModel,
    held_out: Purchases,
    lists: RankedLists,
    wanted: Histories,
    *,
    at: Sequence[int],
    seed: int,
    threads: int | None,
) -> Report:
    """Measure the lists that `rank_held_out` returned: all of `evaluate` but the ranking, for callers that need the lists, too."""
    workshop = _workshop(model, held_out, seed, threads)
    return report_of(
        lists,
        wanted,
        at=at,
        products=len(model.products),
        seed=seed,
        workshop=workshop,
        bought=model.histories,
    )


def rank_held_out(
    model: TasteModel, held_out: Purchases, *, k: int, include_purchased: bool, threads: int | None
) -> tuple[RankedLists, Histories]:
    """Return the lists of the Q users with a held-out purchase, in order of row, and what is held out of each."""
    users, wanted = those_with_held_out(held_out.histories())
    lists = rank_users(
        model,
        users,
        narrowed_products(model, k, threads=threads),
        k=k,
        include_purchased=include_purchased,
        threads=threads,
    )
    return lists, wanted


def _workshop(model: TasteModel, held_out: Purchases, seed: int, threads: int | None) -> Workshop | None:
    """Measure as the notebook did, over the purchases whose product the model knows."""
    known = held_out.product_rows < len(model.products)
    users, products = held_out.user_rows[known], held_out.product_rows[known]
    if not len(users):
        return None
    key = np.uint64(stream_key(seed, 0, 2))

    def draw(first: int, count: int) -> Rows:
        return draw_uniform(key, first, count, WORKSHOP_NEGATIVES, len(model.products))

    return sampled_accuracy(lambda u, c: score_rows(model, u, c, threads=threads), users, products, draw)
