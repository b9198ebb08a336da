"""How well lists rank by the number of shards that learn side by side: ``python benchmarks/shards.py``.

Trains on the ASOS purchases (or ``--synthetic``) with the default settings on 1, 2, 8 and 32 shards, and measures on the purchases
that were kept apart. The bytes are those that a cluster would move: in each of 16 rounds an epoch every shard tells which rows it
moved and by how much. ``--rounds`` asks for other numbers of rounds, ``--inside`` measures on a part of the log. ``--log FILE``
takes another log, measured inside, and ``--vectors-alone EPOCHS`` learns vectors without a memory beside them, which hides what
shards change. ``--sampled 1500`` chooses settings on two samples of so many users and learns once, as of logs of more than 20
million purchases (of 8,000 users). Five minutes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tastemaker as tm
from common import add_data_options, asos_folder, machine, markdown, parser_of, read_log
from tastemaker.data.reading.readers import read_held_out
from tastemaker.data.splits import hold_out_random
from tastemaker.training.selection import sampled
from tastemaker.training.sharded import rounds
from tastemaker.training.sharded.lesson import Tables

ALONE = {"taste.objective": "softmax", "decay": 0.01, "memory.count_weight": 0, "memory.ridge_weight": 0,
         "memory.spectral_weight": 0, "memory.directed_weight": 0, "trend.weight": 0, "repeats.weight": 0, "repeats.sales": 0,
         "repeats.level": 0, "live.rate": 0}  # fmt: skip
"""Settings of a model that is vectors and nothing else"""

HELD_OUT = "dsf_asos_valid_with_alphanumeric_dummy_ids.parquet"


def main() -> None:
    parser = parser_of(__doc__, threads=2, seeds=2)
    add_data_options(parser)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 8, 32])
    parser.add_argument("--rounds", type=int, nargs="+", default=[rounds.ROUNDS])
    parser.add_argument(
        "--inside", action="store_true", help="measure on a part of the log itself, to choose by"
    )
    parser.add_argument("--log", type=Path, help="purchases to learn from, in place of ASOS's")
    parser.add_argument(
        "--vectors-alone", type=int, metavar="EPOCHS", help="so many epochs, and nothing else in the model"
    )
    parser.add_argument(
        "--sampled", type=int, metavar="USERS", help="choose as for a long log, and learn once"
    )
    options = parser.parse_args()
    if options.sampled:
        sampled.LONG, sampled.USERS = 0, options.sampled
    log = read_log(options) if options.log is None else tm.read_purchases(options.log)
    settings = {} if options.vectors_alone is None else ALONE | {"epochs": options.vectors_alone}
    if options.inside or options.synthetic or options.log:
        split = hold_out_random(log, rng=np.random.default_rng(5))
        log, held_out = split.train, split.held_out
    else:
        held_out = read_held_out(asos_folder(options.data) / HELD_OUT, log.users, log.products).known
    rows, base = [], 0.0
    for shards in options.shards:
        for count in options.rounds if shards > 1 else [rounds.ROUNDS]:
            rounds.ROUNDS = count
            found = [
                learned(
                    log, held_out, settings | {"shards": shards, "seed": seed, "threads": options.threads}
                )
                for seed in range(options.seeds)
            ]
            ndcg = statistics.mean(one["ndcg"] for one in found)
            base = base or ndcg
            moved = statistics.mean(one["bytes"] for one in found) / 1e6
            rows.append(
                [
                    str(shards),
                    str(count) if shards > 1 else "",
                    f"{ndcg:.5f}",
                    f"{ndcg / base:.3f}",
                    ", ".join(str(one["epochs"]) for one in found),
                    f"{moved:.2f}" if shards > 1 else "",
                    f"{statistics.mean(one['seconds'] for one in found):.1f}",
                ]
            )
    names = ["shards", "rounds an epoch", "ndcg@100", "of one shard", "epochs chosen"]
    print(markdown([*names, "a shard tells a round, MB", "seconds"], rows))
    print(f"\nMeans of {options.seeds} seeds, {options.threads} threads. {machine()}")


def learned(log: tm.Purchases, held_out: tm.Purchases, settings: dict[str, Any]) -> dict[str, Any]:
    told: list[int] = []
    merge = rounds.merge

    def counting(tables: Tables, parts: Sequence[rounds.Moved]) -> None:
        told.extend(part.bytes for part in parts)
        merge(tables, parts)

    rounds.merge = counting
    began = time.perf_counter()
    try:
        model = tm.train(log, progress=False, **settings)
    finally:
        rounds.merge = merge
    seconds = time.perf_counter() - began
    report = tm.evaluate(model, held_out, at=100, threads=settings["threads"])
    return {
        "ndcg": report.metrics["ndcg@100"].mean,
        "epochs": len(model.record.epochs),
        "bytes": statistics.mean(told) if told else 0,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
