"""What an approximate index saves, and what it misses: ``python benchmarks/approximate.py``.

Clustered random vectors with a bias, one million of 64 dimensions by default, and as many queries as `tastemaker index` measures.
Each row of the table reads more cells of the same index; the first is the exact ranking of all. Needs the extra ``index``.
"""

from __future__ import annotations

import time

import numpy as np

from common import machine, markdown, parser_of
from tastemaker.ranking.index.approximate import AnyCandidates, Approximate, best_of
from tastemaker.ranking.index.making import make_index
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.top_k import Candidates


def main() -> None:
    options = parser_of(
        __doc__, products=1_000_000, dimensions=64, queries=1_000, over=16, threads=2
    ).parse_args()
    vectors, bias, queries = clustered(options.products, options.dimensions, options.queries)
    exact = Candidates.of(vectors, bias)
    began = time.perf_counter()
    index = make_index(vectors, bias)
    built = time.perf_counter() - began
    best_of(queries[:1], exact, 10, threads=1)
    best, batch, alone = timed(queries, exact, options.threads)
    rows = [["exact, all products", "1.000", f"{batch:.2f}", f"{alone:.2f}"]]
    probes = 8
    while probes <= index.nlist // 4:
        candidates = Approximate(exact, vectors, index, probes, options.over)
        best_of(queries[:1], candidates, 10, threads=1)
        found, batch, alone = timed(queries, candidates, options.threads)
        rows.append(
            [
                f"{probes:,} of {index.nlist:,} cells",
                f"{recall(best, found):.3f}",
                f"{batch:.2f}",
                f"{alone:.2f}",
            ]
        )
        probes *= 2
    print(markdown(["read", "recall@10", "ms a query, all at once", "ms a query, one by one"], rows))
    print(
        f"\n{options.products:,} × {options.dimensions} clustered vectors, {options.queries:,} queries, k = 10, "
        f"{options.threads} thread(s); built in {built:.0f} s by all threads. {machine()}"
    )


def clustered(count: int, dimensions: int, queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors around 2,000 means, a bias that a few products have much of, and queries around the same means."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((2_000, dimensions), np.float32)
    vectors = (
        means[rng.integers(0, 2_000, count)] + rng.standard_normal((count, dimensions), np.float32)
    ) / 8
    asked = means[rng.integers(0, 2_000, queries)] + rng.standard_normal((queries, dimensions), np.float32)
    return vectors, rng.exponential(0.5, count).astype(np.float32), asked


def timed(queries: np.ndarray, candidates: AnyCandidates, threads: int) -> tuple[RankedLists, float, float]:
    """Return the lists and the milliseconds a query: of all in one call, and of the first 100 in a call each."""
    began = time.perf_counter()
    lists = best_of(queries, candidates, 10, threads=threads)
    batch = (time.perf_counter() - began) / len(queries)
    began = time.perf_counter()
    for query in range(min(100, len(queries))):
        best_of(queries[query : query + 1], candidates, 10, threads=threads)
    return lists, 1e3 * batch, 1e3 * (time.perf_counter() - began) / min(100, len(queries))


def recall(best: RankedLists, found: RankedLists) -> float:
    return float(
        np.mean([np.isin(rows, others).mean() for (rows, _), (others, _) in zip(best, found, strict=True)])
    )


if __name__ == "__main__":
    main()
