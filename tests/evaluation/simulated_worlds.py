"""Values of users as ranking metrics have them: mostly 0, the rest skewed; and the mean that they are drawn around."""

from __future__ import annotations

import numpy as np

Values = tuple[np.ndarray, float]
"""The values drawn, and their true mean."""


def metric_values(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Values:
    served = rng.random(shape)
    if kind == "hit_rate":  # one user in ten has a hit
        return (served < 0.1).astype(float), 0.1
    if kind == "mrr":  # three in twenty have one, at the places 1 to 10 alike
        return (served < 0.15) / rng.integers(1, 11, shape), 0.15 * sum(1 / r for r in range(1, 11)) / 10
    if kind == "ndcg":  # one in five, few of them high
        return (served < 0.2) * rng.beta(0.8, 3, shape), 0.2 * 0.8 / 3.8
    # recall: 1 to 4 products held out, each found with chance .1
    held = rng.integers(1, 5, shape)
    return rng.binomial(held, 0.1) / held, 0.1
