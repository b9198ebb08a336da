"""A model as two ONNX graphs, which any ONNX runtime answers with: lists of users, and neighbours of products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.export.whole import Whole, library, whole
from tastemaker.storage import writing_folder
from tastemaker.types import AnyArray

__all__ = ["to_onnx"]

OPERATORS, LABELS = 18, 3
"""Versions of the operator sets: ONNX's own, and that of LabelEncoder"""


def to_onnx(model: TasteModel, out: Path, *, threads: int | None = None) -> list[Path]:
    """Write ``recommend_user.onnx`` and ``call_item_item.onnx`` into a new folder; return their paths.

    Inputs are one id (``user`` or ``item``) and ``k``; outputs are ``product_ids`` and ``scores``, best first. A user's list is as
    `recommend` makes it: what was bought is left out, an unknown user gets best sellers, a short list is shorter. Neighbours are by
    dot product, the product itself among them; an unknown product has none. Raises `SettingProblem` without the extra ``onnx``, and
    `FileExistsError`.
    """
    onnx: Any = library("onnx", "onnx", "onnx")
    tables = whole(model, threads=threads)
    with writing_folder(out) as temporary:
        for name, graph in (
            ("recommend_user", _users(onnx, tables)),
            ("call_item_item", _items(onnx, tables)),
        ):
            made = onnx.helper.make_model(
                graph,
                producer_name="tastemaker",
                opset_imports=[
                    onnx.helper.make_opsetid("", OPERATORS),
                    onnx.helper.make_opsetid("ai.onnx.ml", LABELS),
                ],
                ir_version=9,
            )
            onnx.checker.check_model(made)
            onnx.save_model(made, str(temporary / f"{name}.onnx"))
    return [out / "recommend_user.onnx", out / "call_item_item.onnx"]


class _Graph:
    """A graph that grows node by node."""

    def __init__(self, onnx: Any, name: str, given: str, ids: pl.Series, unknown: int) -> None:
        self.onnx, self.name, self.given = onnx, name, given
        self.nodes: list[Any] = []
        self.tables: list[Any] = []
        self.is_text = ids.dtype == pl.String
        kind = "strings" if self.is_text else "int64s"
        keys = ids.to_list()
        labels: dict[str, Any] = {f"keys_{kind}": keys, "values_int64s": list(range(len(keys)))}
        self.row = self.add("LabelEncoder", given, domain="ai.onnx.ml", default_int64=unknown, **labels)

    def table(self, name: str, values: AnyArray) -> str:
        self.tables.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def number(self, value: int) -> str:
        name = f"number_{value}".replace("-", "minus_")
        if all(table.name != name for table in self.tables):
            self.table(name, np.array([value], np.int64))
        return name

    def add(self, kind: str, *inputs: str, outputs: tuple[str, ...] | None = None, **attributes: Any) -> str:
        names = outputs or (f"{kind.lower()}_{len(self.nodes)}",)
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), list(names), **attributes))
        return names[0]

    def part(self, values: str, offsets: str) -> str:
        """Return the part of flat lists that is the row's."""
        low = self.add("Gather", offsets, self.row)
        high = self.add("Gather", offsets, self.add("Add", self.row, self.number(1)))
        return self.add("Slice", values, low, high)

    def listed(self, scores: str, ids: pl.Series, count: str) -> Any:
        """Return the graph, which ends with the best ``count`` products by ``scores[P]``."""
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        most = self.add("Min", "k", self.number(len(ids)))
        self.add("TopK", scores, most, outputs=("best", "rows"), largest=1, sorted=1)
        length = self.add("Min", most, count)
        text = ids.dtype == pl.String
        values = np.array(ids.to_list(), object if text else np.int64)
        kept = self.add("Slice", "rows", self.number(0), length)
        self.add("Gather", self.table("ids", values), kept, outputs=("product_ids",))
        self.add("Slice", "best", self.number(0), length, outputs=("scores",))
        kind = kinds.STRING if self.is_text else kinds.INT64
        return helper.make_graph(
            self.nodes,
            self.name,
            [
                helper.make_tensor_value_info(self.given, kind, [1]),
                helper.make_tensor_value_info("k", kinds.INT64, [1]),
            ],
            [
                helper.make_tensor_value_info("product_ids", kinds.STRING if text else kinds.INT64, ["n"]),
                helper.make_tensor_value_info("scores", kinds.FLOAT, ["n"]),
            ],
            self.tables,
        )


def _users(onnx: Any, tables: Whole) -> Any:
    count = len(tables.product_ids)
    graph = _Graph(onnx, "recommend_user", "user", tables.user_ids, len(tables.user_ids))
    query = graph.add("Gather", graph.table("queries", tables.queries), graph.row)
    across = graph.table("products", tables.products[:count].T)
    scores = graph.add("Reshape", graph.add("MatMul", query, across), graph.number(-1))
    bought = graph.part(
        graph.table("bought", tables.bought.astype(np.int64)),
        graph.table("bought_offsets", tables.bought_offsets),
    )
    length = graph.add("Shape", bought)
    if len(tables.extra_rows):
        offsets = graph.table("extra_offsets", tables.extra_offsets)
        rows = graph.part(graph.table("extra_rows", tables.extra_rows.astype(np.int64)), offsets)
        more = graph.part(graph.table("extra_scores", tables.extra_scores), offsets)
        scores = graph.add("ScatterElements", scores, rows, more, reduction="add")
    if tables.nobody is not None:
        empty = graph.add("Cast", graph.add("Equal", length, graph.number(0)), to=onnx.TensorProto.FLOAT)
        scores = graph.add("Add", scores, graph.add("Mul", graph.table("nobody", tables.nobody), empty))
    lowest = graph.add("Expand", graph.table("lowest", np.array([-np.inf], np.float32)), length)
    scores = graph.add("ScatterElements", scores, bought, lowest)
    return graph.listed(scores, tables.product_ids, graph.add("Sub", graph.number(count), length))


def _items(onnx: Any, tables: Whole) -> Any:
    count = len(tables.product_ids)
    graph = _Graph(onnx, "call_item_item", "item", tables.product_ids, count)
    vectors = tables.products[:, :-1]
    own = graph.add("Gather", graph.table("vectors", vectors), graph.row)
    across = graph.table("across", vectors[:count].T)
    scores = graph.add("Reshape", graph.add("MatMul", own, across), graph.number(-1))
    known = graph.add("Cast", graph.add("Less", graph.row, graph.number(count)), to=onnx.TensorProto.INT64)
    return graph.listed(scores, tables.product_ids, graph.add("Mul", graph.number(count), known))
