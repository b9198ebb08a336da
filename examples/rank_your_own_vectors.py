"""`top_k` alone: exact ranking of any vectors, with exclusions and sparse extra scores, checked against NumPy.

Run it: `python examples/rank_your_own_vectors.py`.
"""

from __future__ import annotations

import numpy as np

import tastemaker as tm

rng = np.random.default_rng(3)
queries = rng.normal(size=(100, 32)).astype(np.float32)
vectors = rng.normal(size=(5_000, 32)).astype(np.float32)
bias = rng.normal(size=5_000).astype(np.float32)

candidates = tm.Candidates.of(vectors, bias)  # pack once, rank often
lists = tm.top_k(queries, candidates, 10)
rows, scores = lists[0]
print("query 0:", rows.tolist())

wanted = np.argsort(-(queries[0].astype(np.float64) @ vectors.T + bias), kind="stable")[:10]
assert rows.tolist() == wanted.tolist()

# Leave out the three best of query 0 and raise candidate 7 of query 1; the other queries have neither.
offsets = np.array([0, 3] + [3] * 99)
without = tm.Exclusions(offsets, np.sort(rows[:3]))
raised = tm.ExtraScores(np.array([0, 0] + [1] * 99), np.int32([7]), np.float32([1_000]))
changed = tm.top_k(queries, candidates, 10, exclude=without, extra=raised)
print("query 0 without its three best:", changed[0][0].tolist())
assert changed[0][0][:7].tolist() == wanted[3:].tolist()
assert changed[1][0][0] == 7
