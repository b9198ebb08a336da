"""What the dial of the long tail costs and gives: ``python benchmarks/long_tail.py``.

ASOS: the default learns from four fifths of each user's train purchases, and its lists are measured on the rest at several dials.
"""

from __future__ import annotations

import tastemaker as tm
from common import add_data_options, machine, markdown, parser_of, read_log
from tastemaker.evaluation.curves.tail_curve import tail_curve

DIALS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


def main() -> None:
    parser = parser_of(__doc__, threads=2, seed=0)
    add_data_options(parser)
    given = parser.parse_args()
    split = tm.hold_out_random(read_log(given), share=0.2, rng=given.seed)
    model = tm.train(split.train, seed=given.seed, threads=given.threads, progress=False)
    rows = [
        [
            f"{point.tail:g}", f"{point.ndcg:.4f}", f"{point.tail_recall:.4f}",
            f"{point.beyond_head:.1%}", f"{point.bought_beyond_head:.1%}",
        ]
        for point in tail_curve(model, split.held_out, tails=DIALS, threads=given.threads)
    ]  # fmt: skip
    heads = [
        "`--tail`", "ndcg@100", "recall@100 of middle and tail", "their share of the first ten places", "of what was bought",
    ]  # fmt: skip
    print(markdown(heads, rows))
    print(f"\n{split} {machine()}")


if __name__ == "__main__":
    main()
