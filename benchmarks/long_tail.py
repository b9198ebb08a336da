"""What the dial of the long tail costs and gives: ``python benchmarks/long_tail.py``.

ASOS: the default learns from four fifths of each user's train purchases, and its lists are measured on the rest at several dials.
"""

from __future__ import annotations

import tastemaker as tm
from common import add_data_options, machine, markdown, parser_of, read_log
from tastemaker.evaluation.curves.tail_curve import best_tail, tail_curve
from tastemaker.evaluation.intervals import Interval

DIALS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


def changed(change: Interval, before: float) -> str:
    """Return a change and its interval in percent of what it changes."""
    mean, low, high = (f"{100 * one / before:+.1f}" for one in (change.mean, change.low, change.high))
    return f"{mean} % ({low} to {high})"


def main() -> None:
    parser = parser_of(__doc__, threads=2, seed=0)
    add_data_options(parser)
    given = parser.parse_args()
    split = tm.hold_out_random(read_log(given), share=0.2, rng=given.seed)
    model = tm.train(split.train, seed=given.seed, threads=given.threads, progress=False)
    points = tail_curve(model, split.held_out, tails=DIALS, threads=given.threads)
    rows = [
        [
            f"{point.tail:g}", f"{point.ndcg:.4f}", changed(point.ndcg_change, points[0].ndcg),
            f"{point.tail_recall:.4f}", changed(point.tail_recall_change, points[0].tail_recall),
            f"{point.beyond_head:.1%}", f"{point.bought_beyond_head:.1%}",
        ]
        for point in points
    ]  # fmt: skip
    heads = [
        "`--tail`", "ndcg@100", "to that at 0", "recall@100 of middle and tail", "to that at 0",
        "their share of the first ten places", "of what was bought",
    ]  # fmt: skip
    print(markdown(heads, rows))
    print(f"\nbest: --tail {best_tail(points).tail:g}")
    print(f"\n{split} {machine()}")


if __name__ == "__main__":
    main()
