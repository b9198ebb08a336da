"""Measuring ranked lists, against ranx and RecTools: ``python benchmarks/metrics.py``.

The lists are those of co-purchase counts on ASOS: 100 products for each of the users with a held-out purchase. Each library has
the lists as it wants them and returns six metrics at 10, 20 and 100, means over users; the time that it takes to make its input of
arrays is told, too. The means are compared: map divided by all that is held out, as the others do, and RecTools' ndcg with
``divide_by_achievable=True``. Below Python 3.13 RecTools needs NumPy 1, with which tastemaker does not run: give it an environment
of its own, ``--peers-python PATH-OF-ITS-PYTHON``. A library that is not there is left out, and the note under the table says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from common import (
    Worker,
    add_data_options,
    asos_folder,
    machine,
    markdown,
    parser_of,
    questions,
    ratios,
    read_log,
    save_arrays,
    spread,
    thread_environment,
)

AT = (10, 20, 100)
METRICS = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")
NAMES = [f"{metric}@{k}" for metric in METRICS for k in AT]
LONGEST = max(AT)
OURS = "tastemaker"
WITH_INTERVALS = "with intervals"
TITLES = {
    OURS: "tastemaker `measure`",
    WITH_INTERVALS: "tastemaker `report_of`: with 95 % intervals, coverage, Gini, novelty",
    "ranx": "ranx `evaluate`",
    "rectools": "RecTools `calc_metrics`",
}
HELD_OUT = "dsf_asos_valid_with_alphanumeric_dummy_ids.parquet"
EQUAL = 1e-6

Means: TypeAlias = Callable[[], dict[str, float]]
Arrays: TypeAlias = Mapping[str, Any]


# What each library does -------------------------------------------------------------------------------------


def tastemaker(arrays: Arrays) -> tuple[Means, str]:
    from tastemaker.evaluation.metrics import measure

    lists, wanted, _ = _ours(arrays)
    held = np.diff(wanted.offsets)

    def means() -> dict[str, float]:
        values = measure(lists, wanted, at=AT, products=int(arrays["products"])).values
        for k in AT:  # ranx and RecTools divide by |H|, which no list of k can bring to 1 where |H| > k
            values[f"map@{k}"] = values[f"map@{k}"] * np.minimum(held, k) / held
        return {name: float(value.mean()) for name, value in values.items()}

    return means, "tastemaker"


def with_intervals(arrays: Arrays) -> tuple[Means, str]:
    from tastemaker.evaluation.protocol import report_of

    lists, wanted, bought = _ours(arrays)

    def means() -> dict[str, float]:
        report = report_of(lists, wanted, at=AT, products=int(arrays["products"]), seed=0, bought=bought)
        return {name: interval.mean for name, interval in report.metrics.items()}

    return means, "tastemaker"


def _ours(arrays: Arrays) -> tuple[Any, Any, Any]:
    from tastemaker.data.purchases import Histories
    from tastemaker.ranking.lists import RankedLists

    return (
        RankedLists(arrays["offsets"], arrays["rows"], arrays["scores"]),
        Histories(arrays["held_offsets"], arrays["held_rows"]),
        Histories(arrays["bought_offsets"], arrays["bought_rows"]),
    )


def ranx(arrays: Arrays) -> tuple[Means, str]:
    from importlib.metadata import version

    from ranx import Qrels, Run, evaluate

    shown, held = _frames(arrays)
    shown, held = (frame.astype(TEXT).astype(dict.fromkeys(TEXT, object)) for frame in (shown, held))
    shown["score"] = (LONGEST + 1.0) - shown["rank"]  # ranx sorts by score; ours are in order already
    held["score"] = 1
    run = Run.from_df(shown, q_id_col="user_id", doc_id_col="item_id")
    qrels = Qrels.from_df(held, q_id_col="user_id", doc_id_col="item_id")

    def means() -> dict[str, float]:
        return {name: float(value) for name, value in evaluate(qrels, run, NAMES).items()}

    return means, f"ranx {version('ranx')}"


def rectools(arrays: Arrays) -> tuple[Means, str]:
    from importlib.metadata import version

    from rectools.metrics import MAP, MRR, NDCG, HitRate, Precision, Recall, calc_metrics

    shown, held = _frames(arrays)
    made = {
        "recall": Recall,
        "precision": Precision,
        "ndcg": lambda k: NDCG(k, divide_by_achievable=True),
        "map": MAP,
        "mrr": MRR,
        "hit_rate": HitRate,
    }
    metrics = {f"{metric}@{k}": made[metric](k=k) for metric in METRICS for k in AT}

    def means() -> dict[str, float]:
        return {name: float(value) for name, value in calc_metrics(metrics, shown, held).items()}

    return means, f"RecTools {version('rectools')}"


def _frames(arrays: Arrays) -> tuple[Any, Any]:
    """Return what is shown (user, product, rank) and what is held out (user, product) as data frames."""
    import pandas as pd

    lengths = np.diff(arrays["offsets"])
    users = np.arange(len(lengths))
    place = np.arange(len(arrays["rows"])) - np.repeat(arrays["offsets"][:-1], lengths)
    shown = pd.DataFrame({"user_id": np.repeat(users, lengths), "item_id": arrays["rows"], "rank": place + 1})
    held = np.repeat(users, np.diff(arrays["held_offsets"]))
    return shown, pd.DataFrame({"user_id": held, "item_id": arrays["held_rows"]})


TEXT = {"user_id": str, "item_id": str}
IMPORTED = {"ranx": "ranx", "rectools": "rectools.metrics"}
LIBRARIES = {OURS: tastemaker, WITH_INTERVALS: with_intervals, "ranx": ranx, "rectools": rectools}


def work(name: str, arrays: Arrays) -> None:
    """Be the worker of one library."""
    with questions() as (wait, answer):
        import_module(IMPORTED.get(name, "tastemaker.evaluation.protocol"))
        began = time.perf_counter()
        means, library = LIBRARIES[name](arrays)
        built = time.perf_counter() - began
        wait()
        answer(peer=library, built=built, means=means())  # a warm-up
        while True:
            wait()
            began = time.perf_counter()
            means()
            answer(seconds=time.perf_counter() - began)


# The run ----------------------------------------------------------------------------------------------------


def main() -> None:
    parser = parser_of(__doc__, rounds=5, threads=2)
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--without", action="append", default=[], choices=["ranx", "rectools"])
    parser.add_argument("--worker", nargs=2, metavar=("LIBRARY", "ARRAYS"), help=argparse.SUPPRESS)
    add_data_options(parser)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], dict(np.load(options.worker[1])))
        return
    asked = [name for name in TITLES if name not in options.without]
    names = [name for name in asked if name not in IMPORTED or _there(options.peers_python, name)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        arrays = Path(folder) / "lists.npz"
        users = _prepare(arrays, options)
        workers = {}
        for name in names:
            python = options.peers_python if name in IMPORTED else sys.executable
            command = [python, __file__, "--worker", name, str(arrays)]
            workers[name] = stack.enter_context(Worker(command, thread_environment(options.threads)))
        first = {name: worker.ask() for name, worker in workers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name, worker in workers.items():
                seconds[name].append(worker.ask()["seconds"])
    rows = [
        (
            TITLES[name],
            spread(seconds[name], 3),
            "" if name == OURS else spread(ratios(seconds[name], seconds[OURS]), 1),
            f"{first[name]['built']:.2f}",
            "" if name in (OURS, WITH_INTERVALS) else f"{_apart(first[name], first[OURS]):.0e}",
        )
        for name in names
    ]
    print(markdown(["library", "seconds", "times ours", "to make its input, s", "largest difference"], rows))
    peers = [first[name]["peer"] for name in names if name not in (OURS, WITH_INTERVALS)]
    print(
        f"\n{users:,} users × {LONGEST} products, {len(NAMES)} metrics; {options.threads} threads, {options.rounds} rounds; "
        f"{'; '.join([*peers, machine()])}"
    )
    for name in sorted(set(asked) - set(names)):
        print(f"Left out: {name}, which cannot be imported here; give --peers-python.")
    apart = [_apart(first[name], first[OURS]) for name in names if name not in (OURS, WITH_INTERVALS)]
    if max(apart, default=0.0) > EQUAL:
        sys.exit(f"the means differ by {max(apart):.1e}, more than {EQUAL:.0e}.")


def _prepare(path: Path, options: argparse.Namespace) -> int:
    """Write the lists, what is held out and what was bought; return how many users there are."""
    import tastemaker as tm
    from tastemaker.evaluation.evaluate import rank_held_out

    log = read_log(options)
    if options.synthetic:
        split = tm.hold_out_random(log, rng=np.random.default_rng(1))
        log, held = split.train, split.held_out
    else:
        file = asos_folder(options.data) / HELD_OUT
        held = tm.read_held_out(file, log.users, log.products).purchases
    model = tm.co_purchase(log, power=0.5, damping=1.0)
    lists, wanted = rank_held_out(model, held, k=LONGEST, include_purchased=False, threads=options.threads)
    save_arrays(
        path,
        offsets=lists.offsets,
        rows=lists.rows,
        scores=lists.scores,
        held_offsets=wanted.offsets,
        held_rows=wanted.products,
        bought_offsets=model.histories.offsets,
        bought_rows=model.histories.products,
        products=len(model.products),
    )
    return len(lists)


def _there(python: str, name: str) -> bool:
    found = subprocess.run([python, "-c", f"import {IMPORTED[name]}"], capture_output=True)
    return found.returncode == 0


def _apart(peer: Mapping[str, Any], ours: Mapping[str, Any]) -> float:
    return max(abs(peer["means"][name] - ours["means"][name]) for name in NAMES)


if __name__ == "__main__":
    main()
