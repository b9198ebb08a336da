"""Ranking every product for every user, against implicit and faiss: ``python benchmarks/top_k.py``.

The vectors are those that the workshop's preset learns from the ASOS log (D = 64, five epochs); k = 100, and what a user bought
is left out, except by faiss, which filters nothing. Each library ranks in its own process, in turns, all users at once. implicit
and the product of matrices alone are run with what suits them best: implicit calls BLAS from its own threads, so its BLAS has one.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import tastemaker as tm
from common import (
    Worker,
    add_data_options,
    machine,
    markdown,
    parser_of,
    ratios,
    read_log,
    save_arrays,
    spread,
    thread_environment,
)

HERE = Path(__file__).parent
OURS = "tastemaker"
TITLES = {
    OURS: "tastemaker `top_k`",
    "prepared": "the same, vectors laid out before",
    "implicit": "implicit `recommend`",
    "faiss": "faiss `IndexFlatIP.search`, filters nothing",
    "product": "the product of matrices alone (NumPy)",
}


def main() -> None:
    parser = parser_of(__doc__, rounds=5, threads=2, dimensions=64, epochs=5)
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument(
        "--without", action="append", default=[], choices=[name for name in TITLES if name != OURS]
    )
    parser.add_argument("--users", type=int, help="only so many users (default: all)")
    add_data_options(parser)
    options = parser.parse_args()
    names = [name for name in TITLES if name not in options.without]
    settings = tm.preset("workshop").changed({"dimensions": options.dimensions, "epochs": options.epochs})
    model = tm.train(read_log(options), settings, threads=options.threads)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        arrays = Path(folder) / "vectors.npz"
        users = len(model.users) if options.users is None else min(options.users, len(model.users))
        offsets = model.histories.offsets[: users + 1]
        save_arrays(
            arrays,
            users=model.user_vectors[:users],
            products=model.product_vectors,
            offsets=offsets,
            bought=model.histories.products[: offsets[-1]],
        )
        workers = {}
        for name in names:
            command = [sys.executable, str(HERE / "ranking_peers.py"), str(arrays), name]
            command += ["-k", str(options.k), "--threads", str(options.threads)]
            blas = {"OPENBLAS_NUM_THREADS": 1, "MKL_NUM_THREADS": 1} if name == "implicit" else {}
            environment = thread_environment(options.threads, **blas)
            workers[name] = stack.enter_context(Worker(command, environment))
        versions = [worker.ask()["peer"] for worker in workers.values()]
        lists = {}
        for name, worker in workers.items():
            worker.ask(
                save=str(Path(folder) / f"{name}.npz")
            )  # a warm-up, and what the lists are compared by
            lists[name] = dict(np.load(Path(folder) / f"{name}.npz"))
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name, worker in workers.items():
                seconds[name].append(worker.ask()["seconds"])
    rows = [
        [
            TITLES[name],
            spread(seconds[name]),
            spread([users / second for second in seconds[name]], 0),
            "1" if name == OURS else spread(ratios(seconds[name], seconds[OURS])),
            same(lists[name], lists[OURS]) if name == "implicit" else "",
        ]
        for name in names
    ]
    print(markdown(["", "seconds", "users a second", "times ours", "scores as ours"], rows))
    peers = ", ".join(name for name in versions if name != OURS)
    print(
        f"\n{users:,} users × {len(model.products):,} products, D = {options.dimensions}, k = {options.k}, {options.threads} "
        f"threads, {options.rounds} rounds; median (least–greatest). {peers}. {machine()}"
    )


def same(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Return the share of places whose scores agree to 1 part in 100,000 of the greatest (equal scores may change places)."""
    tolerance = 1e-5 * float(np.abs(ours["scores"]).max())
    return f"{np.mean(np.abs(theirs['scores'] - ours['scores']) <= tolerance):.2%}"


if __name__ == "__main__":
    main()
