"""The workshop's model in Keras: a worker of `workshop_epoch.py`, run by an interpreter that has TensorFlow.

``notebook`` is the loop of the workshop's notebook: each purchase is mapped by itself to its candidates, then batched, and
fitted as a `keras.Model` of two embeddings and a dot product. Its look-ups of text ids are left out, in its favour.
``tuned`` is the same mathematics as fast as we could make Keras do it: negatives drawn a batch at a time, batches prefetched,
sparse labels, a matrix product for the scores, and the step compiled by XLA.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from common import questions


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("arrays")
    parser.add_argument("variant", choices=["notebook", "tuned"])
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    with questions() as (wait, answer):
        try:
            import tensorflow as tf
        except ImportError:
            answer(
                missing="needs TensorFlow; install tastemaker[tensorflow], or give --tensorflow-python PATH."
            )
            return
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        tf.keras.utils.set_random_seed(0)
        wait()
        answer(peer=f"TensorFlow {tf.__version__}, Keras {tf.keras.__version__}")
        fit(tf, options, wait, answer)


def fit(tf: Any, options: argparse.Namespace, wait: Any, answer: Any) -> None:
    import numpy as np

    log = np.load(options.arrays)
    settings = {name: int(log[name]) for name in ("users", "products", "dimensions", "negatives", "batch")}
    tuned = options.variant == "tuned"

    class Pace(tf.keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            wait()
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            accuracy = next(value for name, value in logs.items() if "accuracy" in name)
            answer(
                seconds=time.perf_counter() - self.began, loss=float(logs["loss"]), accuracy=float(accuracy)
            )

    model = build(tf, settings, tuned)
    sgd = tf.keras.optimizers.SGD(learning_rate=float(log["learning_rate"]))
    if tuned:
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(sgd, loss, metrics=[tf.keras.metrics.SparseCategoricalAccuracy()], jit_compile=True)
    else:
        loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(sgd, loss, metrics=[tf.keras.metrics.CategoricalAccuracy()])
    data = (dataset_by_batch if tuned else dataset_by_purchase)(tf, log, settings)
    model.fit(data, epochs=options.epochs, shuffle=False, verbose=0, callbacks=[Pace()])


def build(tf: Any, settings: dict[str, int], tuned: bool) -> Any:
    layers, dimensions = tf.keras.layers, settings["dimensions"]

    class Workshop(tf.keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.user_embedding = layers.Embedding(
                settings["users"], dimensions
            )  # uniform in ±0.05 by default
            self.product_embedding = layers.Embedding(settings["products"], dimensions)
            self.dot = layers.Dot(axes=-1)

        def build(self, shapes: Any) -> None:
            self.user_embedding.build()
            self.product_embedding.build()

        def call(self, inputs: Any) -> Any:
            user, products = inputs
            queries, candidates = self.user_embedding(user), self.product_embedding(products)
            if tuned:
                return tf.squeeze(tf.matmul(candidates, queries[:, :, None]), -1)
            return tf.squeeze(self.dot([queries, candidates]), 1)

    return Workshop()


def dataset_by_purchase(tf: Any, log: Any, settings: dict[str, int]) -> Any:
    negatives, products = settings["negatives"], settings["products"]
    label = tf.one_hot(0, negatives + 1)

    def candidates(user: Any, product: Any) -> Any:
        drawn = tf.random.uniform((negatives,), 0, products, dtype=tf.int32)
        return (user, tf.concat([product, drawn], axis=0)), label

    rows = log["user_rows"][:, None], log["product_rows"][:, None]
    return tf.data.Dataset.from_tensor_slices(rows).map(candidates).batch(settings["batch"])


def dataset_by_batch(tf: Any, log: Any, settings: dict[str, int]) -> Any:
    negatives, products = settings["negatives"], settings["products"]

    def candidates(users: Any, bought: Any) -> Any:
        count = tf.shape(bought)[0]
        drawn = tf.random.uniform((count, negatives), 0, products, dtype=tf.int32)
        return (users, tf.concat([bought[:, None], drawn], axis=1)), tf.zeros(count, tf.int32)

    data = tf.data.Dataset.from_tensor_slices((log["user_rows"], log["product_rows"]))
    return data.batch(settings["batch"]).map(candidates).prefetch(2)


if __name__ == "__main__":
    main()
