"""One epoch of the workshop's model, against TensorFlow/Keras: ``python benchmarks/workshop_epoch.py``.

Both learn from the same purchases (D = 50, S = 100, batches of 1,024 in file order, SGD of 100), each in its own process, an
epoch of one after an epoch of the other; a first epoch of each is not timed. Keras is fitted twice: as the workshop's notebook
did, and tuned (see `keras_epochs.py`). TensorFlow may live in another virtual environment: ``--tensorflow-python``.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

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
OURS, NOTEBOOK, TUNED = "tastemaker", "Keras, the notebook's loop", "Keras, tuned"


def main() -> None:
    parser = parser_of(__doc__, epochs=5, threads=2)
    add_data_options(parser)
    parser.add_argument("--tensorflow-python", default=sys.executable, metavar="PATH")
    options = parser.parse_args()
    settings = tm.preset("workshop")
    log = read_log(options)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        arrays = Path(folder) / "log.npz"
        save_arrays(
            arrays,
            user_rows=log.user_rows,
            product_rows=log.product_rows,
            users=len(log.users),
            products=len(log.products),
            **{
                name: getattr(settings, name)
                for name in ("dimensions", "negatives", "batch", "learning_rate")
            },
        )

        def worker(python: str, script: str, *more: str) -> Worker:
            counts = ["--epochs", str(options.epochs + 1), "--threads", str(options.threads)]
            command = [python, str(HERE / script), str(arrays), *more, *counts]
            return stack.enter_context(Worker(command, thread_environment(options.threads)))

        keras = {
            NOTEBOOK: worker(options.tensorflow_python, "keras_epochs.py", "notebook"),
            TUNED: worker(options.tensorflow_python, "keras_epochs.py", "tuned"),
        }
        peers = [peer.ask()["peer"] for peer in keras.values()]  # both have started
        workers = {OURS: worker(sys.executable, "tastemaker_epochs.py")} | keras
        course: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
        for _ in range(options.epochs + 1):
            for name, peer in workers.items():
                course[name].append(peer.ask())
    seconds = {name: [epoch["seconds"] for epoch in epochs[1:]] for name, epochs in course.items()}
    rows = [
        [
            name,
            spread(seconds[name]),
            "1" if name == OURS else spread(ratios(seconds[name], seconds[OURS]), 1),
            " · ".join(f"{epoch['loss']:.4f}" for epoch in course[name][:3]),
            f"{course[name][2]['accuracy']:.3f}" if len(course[name]) > 2 else "",
        ]
        for name in workers
    ]
    header = ["", "seconds an epoch", "times ours", "loss of epochs 1 · 2 · 3", "accuracy of epoch 3"]
    print(markdown(header, rows))
    print(
        f"\n{len(log):,} purchases, {options.threads} threads, {options.epochs} timed epochs of each, alternating; "
        f"median (least–greatest). {peers[0]}. {machine()}"
    )


if __name__ == "__main__":
    main()
