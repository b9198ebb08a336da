"""A model as a TensorFlow SavedModel, with the signatures `recommend_user` and `call_item_item` that `serve` answers, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.export.whole import Whole, library, whole
from tastemaker.storage import writing_folder

__all__ = ["to_tensorflow"]


def to_tensorflow(model: TasteModel, out: Path, *, threads: int | None = None) -> Path:
    """Write a SavedModel into a new folder, such as ``models/recommender/1`` of a TensorFlow Serving, and return its path.

    ``recommend_user`` takes ``user`` and ``k``, ``call_item_item`` takes ``item`` and ``k``, each of one value; both give
    ``product_ids`` and ``scores``, best first, as the graphs of `to_onnx` do. Raises `SettingProblem` without the extra
    ``tensorflow``, and `FileExistsError`.
    """
    tf: Any = library("tensorflow", "tensorflow-cpu", "tensorflow")
    module = _module(tf, whole(model, threads=threads))
    with writing_folder(out) as temporary:
        signatures = {name: getattr(module, name) for name in ("recommend_user", "call_item_item")}
        tf.saved_model.save(module, str(temporary), signatures=signatures)
    return out


# long: the two functions of the graph close over its tables
def _module(tf: Any, tables: Whole) -> Any:
    """Return a module whose tables are constants of its graph."""
    count = len(tables.product_ids)
    module = tf.Module()
    module.users, user_type = _lookup(tf, tables.user_ids, len(tables.user_ids))
    module.items, item_type = _lookup(tf, tables.product_ids, count)
    kept = {
        name: tf.Variable(np.ascontiguousarray(values), trainable=False)
        for name, values in (
            ("queries", tables.queries), ("products", tables.products), ("bought", tables.bought.astype(np.int64)),
            ("bought_offsets", tables.bought_offsets), ("extra_offsets", tables.extra_offsets),
            ("extra_rows", tables.extra_rows.astype(np.int64)), ("extra_scores", tables.extra_scores),
        )
    }  # fmt: skip
    nobody = np.zeros(count, np.float32) if tables.nobody is None else tables.nobody
    module.tables, module.nobody = kept, tf.Variable(nobody, trainable=False)
    module.ids = tf.constant(tables.product_ids.to_list(), item_type)

    def listed(scores: Any, k: Any, most: Any) -> dict[str, Any]:
        # a stable sort: of equal scores the lower row comes first, whatever the device
        rows = tf.argsort(scores, direction="DESCENDING", stable=True)[: tf.minimum(k[0], most)]
        return {"product_ids": tf.gather(module.ids, rows), "scores": tf.gather(scores, rows)}

    def part(values: str, offsets: str, row: Any) -> Any:
        return kept[values][kept[offsets][row] : kept[offsets][row + 1]]

    number = tf.TensorSpec([1], tf.int32, "k")

    @tf.function(input_signature=[tf.TensorSpec([1], user_type, "user"), number])  # type: ignore[untyped-decorator]
    def recommend_user(user: Any, k: Any) -> dict[str, Any]:
        row = module.users.lookup(user)[0]
        scores = tf.linalg.matvec(kept["products"][:count], kept["queries"][row])
        bought = part("bought", "bought_offsets", row)
        rows = part("extra_rows", "extra_offsets", row)
        scores = tf.tensor_scatter_nd_add(scores, rows[:, None], part("extra_scores", "extra_offsets", row))
        scores += module.nobody * tf.cast(tf.equal(tf.size(bought), 0), tf.float32)
        lowest = tf.fill([tf.size(bought)], tf.constant(-np.inf, tf.float32))
        scores = tf.tensor_scatter_nd_update(scores, bought[:, None], lowest)
        return listed(scores, k, count - tf.size(bought))

    @tf.function(input_signature=[tf.TensorSpec([1], item_type, "item"), number])  # type: ignore[untyped-decorator]
    def call_item_item(item: Any, k: Any) -> dict[str, Any]:
        row = module.items.lookup(item)[0]
        vectors = kept["products"][:, :-1]
        known = tf.cast(row < count, tf.int32)
        return listed(tf.linalg.matvec(vectors[:count], vectors[row]), k, count * known)

    module.recommend_user, module.call_item_item = recommend_user, call_item_item
    return module


def _lookup(tf: Any, ids: pl.Series, unknown: int) -> tuple[Any, Any]:
    """Return a table from ids to rows, and the type of its keys."""
    kind = tf.string if ids.dtype == pl.String else tf.int64
    keys = tf.constant(ids.to_list(), kind)
    rows = tf.range(len(ids), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, rows), unknown), kind
