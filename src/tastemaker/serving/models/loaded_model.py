"""`LoadedModel`: one version of a model, verified, warmed and ready to answer."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl

from tastemaker.data.purchases import Histories
from tastemaker.data.reading.product_table import ProductTable, empty_table, read_product_table
from tastemaker.errors import DamagedModel, TastemakerError
from tastemaker.model.folder import load_with, read_manifest
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.index.approximate import AnyCandidates, Approximate
from tastemaker.ranking.index.index_folder import index_folder, load_index
from tastemaker.ranking.new_products import describes_products, with_new
from tastemaker.ranking.packed import PackedModel
from tastemaker.ranking.queries import basket_queries, user_queries
from tastemaker.ranking.rank import nearest, rank_users
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.ranking.rules.rules import Rules
from tastemaker.ranking.top_k import Candidates, top_k
from tastemaker.serving.models.ids.history_files import HistoryFiles
from tastemaker.serving.models.ids.id_lookup import IdLookup
from tastemaker.serving.models.neighbour_table import NeighbourTable
from tastemaker.serving.models.private_copy import private_copy
from tastemaker.serving.models.shared_pages import shared_products, shared_vocabulary, version_key
from tastemaker.types import AnyArray, Counts, Floats, Rows

__all__ = ["LoadedModel", "load_version"]

log = logging.getLogger("tastemaker.loaded")


@dataclass(eq=False)
class LoadedModel:
    """One version of a model. A request keeps the version it began with, even if the registry changes meanwhile.

    Only ``neighbours`` and cached values are set later, and change no answer.
    """

    name: str
    version: int
    folder: Path
    """Where its files are mapped from: a copy of the server's own where there is a scratch folder"""
    manifest: dict[str, Any]
    model: TasteModel
    candidates: Candidates
    """The products, packed for `top_k`, with their bias; shared between the workers"""
    catalogue: ProductTable
    """What the catalogue says of each product, in the order of the model's rows; without columns where there is no catalogue"""

    index: Approximate | None = None
    """The same products with an approximate index, where one is wanted and there is one"""

    neighbours: NeighbourTable | None = None
    """The nearest products of all, once they are worked out"""

    book: tuple[Rules, RuleBook] | None = None
    """The rules in force when a list was last asked for, where they have no schedule, and what they come to"""

    added: str = ""
    """What names the products that the catalogue has added to those of the folder; empty without any"""

    @property
    def key(self) -> str:
        """Return a name for files about this version, which no other content has."""
        return self.etag + self.added

    @property
    def etag(self) -> str:
        """Return what names the content of this version: the checksum of its manifest."""
        return version_key(self.manifest)

    @property
    def created(self) -> datetime:
        """Return when the model was written."""
        return datetime.fromisoformat(self.manifest["created"])

    @cached_property
    def user_ids(self) -> IdLookup:
        """Return the users' ids, for a few look-ups at a time."""
        return IdLookup(self.model.users)

    @cached_property
    def product_ids(self) -> IdLookup:
        """Return the products' ids, for a few look-ups at a time."""
        return IdLookup(self.model.products)

    @cached_property
    def label(self) -> str:
        """Return ``NAME/VERSION``, as answers name the version that made them."""
        return f"{quote(self.name)}/{self.version}"

    @cached_property
    def learned_until(self) -> int:
        """Return the time of the last event that the model learned from, in microseconds; of its making, where it has no times."""
        past = self.model.past
        if past is None or not len(past):
            return int(self.created.timestamp() * 1e6)
        return int(np.max(past.times))

    def bought(self, user: int) -> tuple[Rows, Counts | None]:
        """Return what the user at this row bought, ``int32[n]``, and how often; ``None`` means once."""
        if self.history_files is not None:
            return self.history_files.bought(user)
        offsets, products, times = self._purchases
        low, high = offsets[user], offsets[user + 1]
        return products[low:high], None if times is None else times[low:high]

    @cached_property
    def packed(self) -> PackedModel:
        """Return the version as `rank_visitors` takes it."""
        return PackedModel(self.model, self.catalogue, self.candidates, {"dot": self.by_dot})

    @cached_property
    def packed_with_index(self) -> PackedModel:
        """Return the same with its index, where there is one."""
        return PackedModel(
            self.model, self.catalogue, self.index or self.candidates, {"dot": self.index_by_dot}
        )

    @cached_property
    def history_files(self) -> HistoryFiles | None:
        """Return where the histories of many users are read."""
        return HistoryFiles.of(self.model)

    @cached_property
    def _purchases(self) -> tuple[AnyArray, Rows, Counts | None]:
        """Return the histories as plain arrays: a slice of a mapped one takes longer than all else about it."""
        histories, times = self.model.histories, self.model.history_times
        return (
            np.asarray(histories.offsets).view(np.ndarray),
            np.asarray(histories.products).view(np.ndarray),
            None if times is None else np.asarray(times).view(np.ndarray),
        )

    @cached_property
    def index_by_dot(self) -> tuple[Floats, AnyCandidates]:
        """Return the space of `nearest` for dot products, found by the index where there is one."""
        if self.index is None:
            return self.by_dot
        return self.index.vectors, self.index.by_dot()

    @cached_property
    def by_dot(self) -> tuple[Floats, Candidates]:
        """Return the space of `nearest` for dot products: the same panels without bias."""
        bias = np.zeros(self.candidates.count, np.float32)
        return self.model.product_vectors, replace(self.candidates, bias=bias)


def load_version(
    name: str,
    version: int,
    folder: Path,
    *,
    catalogue: Path | None = None,
    scratch: Path | None = None,
    approximate: bool = False,
) -> LoadedModel:
    """Load one version, verify every file and try it out; raise a `ModelFolderProblem` when it is not fit to serve.

    ``catalogue`` is a table of products. ``scratch`` is a folder in which the worker processes share a
    copy of the files and what they pack; with a `Tryout` there, a child process tries the copy first.
    ``approximate`` takes an index too where one stands beside the folder; one that cannot be used is logged, and lists stay exact.
    """
    source, verified = folder, False
    if scratch is not None:
        source, verified = private_copy(folder, scratch)
    manifest = read_manifest(source)
    read = partial(shared_vocabulary, scratch=scratch, key=version_key(manifest))
    model = load_with(read, source, verify=not verified)
    products = model.products
    table = empty_table(products) if catalogue is None else read_product_table(catalogue, products)
    added = ""
    if catalogue is not None:
        _warn_of_strange(catalogue, table, f"{name}/{version}")
        model, table, added = _with_new(model, table, catalogue)
    candidates = shared_products(model, scratch, version_key(manifest) + added)
    index = _index(folder, model, candidates) if approximate and not added else None
    loaded = LoadedModel(name, version, source, manifest, model, candidates, table, index, added=added)
    _try(loaded)
    return loaded


def _with_new(
    model: TasteModel, table: ProductTable, catalogue: Path
) -> tuple[TasteModel, ProductTable, str]:
    """Let products join that only the catalogue knows, where the model learned from what it says of products; name what joined."""
    if not describes_products(model) or not len(table.strangers):
        return model, table, ""
    try:
        longer, added = with_new(model, table)
    except TastemakerError as error:
        log.error("%s New products of %s are not served meanwhile.", error, catalogue.name)
        return model, table, ""
    log.info(
        "%s adds %d products, of %d of which the model understands nothing.",
        catalogue.name,
        added.products,
        added.silent,
    )
    for column, count in added.strange.items():
        log.warning(
            "%s: %d of them have a value of %s that the model did not learn from.",
            catalogue.name,
            count,
            column,
        )
    first = len(model.products)
    digest = hashlib.blake2b(np.ascontiguousarray(longer.product_vectors[first:]).tobytes(), digest_size=8)
    digest.update("\0".join(longer.products.ids[first:].cast(pl.String)).encode())
    return longer, read_product_table(catalogue, longer.products), f"-{digest.hexdigest()}"


def _index(folder: Path, model: TasteModel, candidates: Candidates) -> Approximate | None:
    if not index_folder(folder).is_dir():
        return None
    try:
        return load_index(folder, model, exact=candidates)
    except TastemakerError as error:
        log.error("%s Lists are exact meanwhile.", error)
        return None


def _warn_of_strange(catalogue: Path, table: ProductTable, version: str) -> None:
    """Log a warning when a catalogue lacks most products, probably because it spells their ids differently, or is a log."""
    if table.of_purchases:
        log.warning(
            "%s has %d lines for products that it has described already, as a log does; what differs between them is left out: %s.",
            catalogue.name, table.repeats, ", ".join(table.of_purchases),
        )  # fmt: skip
    described = (
        table.frame.select(pl.any_horizontal(pl.all().is_not_null()).sum()).item() if table.frame.width else 0
    )
    if 2 * described < len(table.ids):
        log.warning(
            "%s says something of %d of the %d products of %s; rules on its columns let no others through.",
            catalogue.name, described, len(table.ids), version,
        )  # fmt: skip


def _try(loaded: LoadedModel) -> None:
    """Ask for some users, an empty basket and neighbours, so that compiling and paging happen now and not in a request."""
    model = loaded.model
    if not len(model.products):
        raise DamagedModel(f"{loaded.folder} knows no product; there is nothing to recommend.")
    loaded.user_ids, loaded.product_ids, loaded.history_files  # noqa: B018  (made now, not by the first request)
    some = np.unique(np.linspace(0, max(len(model.users) - 1, 0), 8).astype(np.int32))[: len(model.users)]
    answers = [rank_users(model, some, loaded.candidates, k=10, include_purchased=True, threads=1)]
    if len(some):
        answers.append(
            rank_users(model, some[:1], loaded.candidates, k=10, include_purchased=True, threads=1)
        )
        user_queries(model, some[:1], threads=1)
    basket = basket_queries(model, Histories(np.array([0, 1]), np.zeros(1, np.int32)), threads=1)
    answers.append(top_k(basket.vectors, loaded.candidates, 10, extra=basket.extra, threads=1))
    if loaded.index is not None:
        answers.append(rank_users(model, some, loaded.index, k=10, include_purchased=True, threads=1))
        answers.append(
            nearest(loaded.index_by_dot, np.zeros(1, np.int32), k=10, include_self=True, threads=1)
        )
    vectors, space = loaded.by_dot
    answers.append(top_k(np.ascontiguousarray(vectors[:1]), space, 10, threads=1))
    for lists in answers:
        if not np.isfinite(lists.scores).all() or (len(lists) and not lists.lengths.all()):
            raise DamagedModel(
                f"{loaded.folder} gives empty lists or scores that are not finite; train it again."
            )
