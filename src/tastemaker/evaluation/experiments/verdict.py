"""What an experiment says so far, in a sentence."""

from __future__ import annotations

from tastemaker.evaluation.experiments.assignment_check import MISMATCH
from tastemaker.evaluation.experiments.sequences import Difference

__all__ = ["verdict"]


def verdict(
    found: Difference, *, metric: str, arms: tuple[str, str], ratio: float, visitors: int, needed: int | None
) -> str:
    """Return the verdict on the metric that was named when the experiment began.

    ``arms`` are the labels of control and treatment, ``ratio`` is what `ratio_p_value` says, ``visitors`` how many of both arms
    count so far, and ``needed`` how many the planned effect takes. A broken assignment comes before all else.

    >>> found = Difference(0.05, 0.06, 0.01, 0.0056, 0.0144, 0.2)
    >>> verdict(found, metric="conversion", arms=("stable", "canary"), ratio=1.0, visitors=100_000, needed=28_556)
    'canary is better than stable in conversion: +0.01 a visitor (+0.0056 to +0.0144; +20.0 % of 0.05), whenever you look.'
    """
    control, treatment = arms
    if ratio < MISMATCH:
        return (
            f"The assignment is broken: so uneven numbers of visitors have a p-value of {ratio:.2g} (limit {MISMATCH}). "
            "Trust no other number; find what loses visitors of one arm, and start again."
        )
    if found.low is None or found.high is None:
        return f"Too early: {visitors:,} visitors, of whom too few did anything, give no interval of {metric} yet."
    share = (
        "" if found.relative is None else f"; {found.relative:+.1%} of {found.control:.4g}".replace("%", " %")
    )
    interval = f"{found.difference:+.4g} a visitor ({found.low:+.4g} to {found.high:+.4g}{share})"
    if found.outcome != "open":
        return f"{treatment} is {found.outcome} than {control} in {metric}: {interval}, whenever you look."
    if needed is None or visitors >= needed:
        ending = (
            "more visitors narrow it"
            if needed is None
            else "an effect as large as planned would likely show by now"
        )
    else:
        ending = f"the planned effect takes about {needed:,} visitors, {visitors:,} have come"
    return f"Open: {treatment} − {control} in {metric} is {interval}; {ending}."
