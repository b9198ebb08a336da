"""`evaluate`: a model and what its users bought later in, a `Report` out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.evaluation.protocol import Report, report_of, those_with_held_out
from tastemaker.evaluation.sampled import Workshop, sampled_accuracy
from tastemaker.kernels.sampling import draw_uniform, stream_key
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.rank import rank_users
from tastemaker.ranking.scores import score_rows
from tastemaker.types import Rows

__all__ = ["WORKSHOP_NEGATIVES", "evaluate", "rank_held_out", "report_on"]

WORKSHOP_NEGATIVES = 100


def evaluate(
    model: TasteModel,
    held_out: Purchases,
    *,
    at: Sequence[int] = (10, 20, 100),
    include_purchased: bool = False,
    seed: int = 0,
    threads: int | None = None,
) -> Report:
    """Rank the whole catalogue for every user with a held-out purchase, and measure the lists.

    ``held_out`` is over the model's own vocabularies (`read_held_out`); product rows of P and above are products that the model
    does not know, which count as missed. What a user bought in train is left out of their list unless ``include_purchased``.
    """
    lists, wanted = rank_held_out(
        model, held_out, k=max(at), include_purchased=include_purchased, threads=threads
    )
    return report_on(model, held_out, lists, wanted, at=at, seed=seed, threads=threads)


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
        product_candidates(model),
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
