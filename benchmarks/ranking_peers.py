"""Ranking all users by one library: a worker of `top_k.py`. Every worker is given the same vectors and purchases."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from common import questions

Lists: TypeAlias = tuple[Any, Any]
"""Product rows and scores, ``[Q, k]``."""

Arrays: TypeAlias = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("arrays")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("-k", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    arrays = dict(np.load(options.arrays))
    with questions() as (wait, answer):
        try:
            rank, name = PEERS[options.peer](arrays, options.k, options.threads)
        except ImportError as error:
            answer(
                missing=f"needs {error.name}; install tastemaker[bench], or leave it out: --without {options.peer}."
            )
            return
        wait()
        answer(peer=name)
        while True:
            save = wait().get("save")
            began = time.perf_counter()
            rows, scores = rank()
            seconds = time.perf_counter() - began
            if save:
                np.savez(save, rows=rows, scores=scores)
            answer(seconds=seconds)


def tastemaker(arrays: Arrays, k: int, threads: int) -> tuple[Callable[[], Lists], str]:
    """Rank from plain vectors: laying them out, and choosing how to rank, is timed."""
    return _ours(arrays, k, threads, lambda: _laid_out(arrays, k, threads)), "tastemaker"


def prepared(arrays: Arrays, k: int, threads: int) -> tuple[Callable[[], Lists], str]:
    """Rank with vectors that were laid out before, as faiss's index is filled before."""
    candidates = _laid_out(arrays, k, threads)
    return _ours(arrays, k, threads, lambda: candidates), "tastemaker"


def _laid_out(arrays: Arrays, k: int, threads: int) -> Any:
    import tastemaker as tm
    from tastemaker.ranking.index.narrowed import narrowed

    return narrowed(tm.Candidates.of(arrays["products"]), arrays["products"], for_many=k, threads=threads)


def _ours(arrays: Arrays, k: int, threads: int, candidates: Callable[[], Any]) -> Callable[[], Lists]:
    import tastemaker as tm

    exclude = tm.Exclusions(arrays["offsets"], arrays["bought"])

    def rank() -> Lists:
        lists = tm.top_k(arrays["users"], candidates(), k, exclude=exclude, threads=threads)
        return lists.rows.reshape(-1, k), lists.scores.reshape(-1, k)

    return rank


def implicit(arrays: Arrays, k: int, threads: int) -> tuple[Callable[[], Lists], str]:
    import implicit
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = AlternatingLeastSquares(factors=arrays["users"].shape[1], num_threads=threads)
    model.user_factors, model.item_factors = arrays["users"], arrays["products"]
    users = np.arange(len(arrays["users"]))
    ones = np.ones(len(arrays["bought"]), np.float32)
    bought = csr_matrix((ones, arrays["bought"], arrays["offsets"]), (len(users), len(arrays["products"])))

    def rank() -> Lists:
        rows, scores = model.recommend(users, bought, N=k, filter_already_liked_items=True)
        return rows, scores

    return rank, f"implicit {implicit.__version__}"


def faiss(arrays: Arrays, k: int, threads: int) -> tuple[Callable[[], Lists], str]:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(arrays["products"].shape[1])
    index.add(arrays["products"])

    def rank() -> Lists:
        scores, rows = index.search(arrays["users"], k)
        return rows, scores

    return rank, f"faiss {faiss.__version__}"


def product(arrays: Arrays, k: int, threads: int) -> tuple[Callable[[], Lists], str]:
    """Return the scores of a block of users after another, each thrown away: the least that exact ranking needs of BLAS."""
    users, products, block = arrays["users"], arrays["products"], 1_024
    scores = np.empty((block, len(products)), np.float32)

    def rank() -> Lists:
        for low in range(0, len(users), block):
            part = users[low : low + block]
            np.matmul(part, products.T, out=scores[: len(part)])
        return np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)

    return rank, f"NumPy {np.__version__}"


PEERS: dict[str, Callable[[Arrays, int, int], tuple[Callable[[], Lists], str]]] = {
    "tastemaker": tastemaker,
    "prepared": prepared,
    "implicit": implicit,
    "faiss": faiss,
    "product": product,
}


if __name__ == "__main__":
    main()
