"""What the page asks to browse the catalogue: a page of it with the counts of its columns, and all that is seen as a file."""

from __future__ import annotations

from typing import Annotated

import polars as pl
from msgspec import Meta, Struct, field

from tastemaker.errors import TastemakerError
from tastemaker.ranking.as_json import Id
from tastemaker.serving.answering.browse import RECENT_DAYS, Shelf, Sort
from tastemaker.serving.answering.event_store import harmless
from tastemaker.serving.answering.product_search import about
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.rules import conditions_of
from tastemaker.serving.api.schemas import ModelQuery
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.operation import Content
from tastemaker.serving.operations.service import RequestInfo
from tastemaker.types import Rows

__all__ = ["CSV", "as_csv", "browse"]

CSV = "text/csv; charset=utf-8"
MOST = 200


class ShelfQuery(ModelQuery, kw_only=True, frozen=True):
    """What of the catalogue is wanted."""

    search: Annotated[str, Meta(max_length=200)] = ""
    sort: Sort = "best"
    where: Annotated[list[Annotated[str, Meta(pattern="^[^:]+:")]], Meta(max_length=200)] = field(
        default_factory=list
    )


class BrowseQuery(ShelfQuery, kw_only=True, frozen=True):
    """Which page of it."""

    page: Annotated[int, Meta(ge=1, le=10_000_000)] = 1
    size: Annotated[int, Meta(ge=1, le=MOST)] = 48


class OnShelf(Struct):
    """One product, how many bought it in all, and of late."""

    product: Id
    buyers: int
    recent: int | None
    about: dict[str, object]


class FacetValue(Struct):
    """One value of a column, and how many products have it."""

    value: str
    count: int


class FacetSaid(Struct):
    """What a column says of the products found."""

    column: str
    values: list[FacetValue]
    least: float | None
    most: float | None


class BrowseAnswer(Struct):
    """A page of the catalogue."""

    model: str
    version: int
    total: int
    page: int
    size: int
    products: list[OnShelf]
    facets: list[FacetSaid]
    sorts: list[str]
    recent_days: int


async def browse(request: RequestInfo, query: BrowseQuery) -> BrowseAnswer:
    """Answer ``GET /api/page/browse``."""
    loaded = chosen(request, query)
    conditions = conditions_of(query.where, loaded.catalogue)

    def answer() -> BrowseAnswer:
        shelf = request.service.state.shelf(loaded)
        try:
            rows = shelf.rows(query.search, conditions, query.sort)
            facets = shelf.facets(query.search, conditions)
        except TastemakerError as error:
            raise Refusal(422, str(error)) from None
        first = (query.page - 1) * query.size
        return BrowseAnswer(
            model=loaded.name,
            version=loaded.version,
            total=len(rows),
            page=query.page,
            size=query.size,
            products=_products(loaded, shelf, rows[first : first + query.size]),
            facets=[
                FacetSaid(
                    facet.column,
                    [FacetValue(value, count) for value, count in facet.values],
                    facet.least,
                    facet.most,
                )
                for facet in facets
            ],
            sorts=list(shelf.sorts),
            recent_days=RECENT_DAYS,
        )

    return await request.service.engine.run(answer)


async def as_csv(request: RequestInfo, query: ShelfQuery) -> Content:
    """Answer ``GET /api/page/browse.csv``: all that is found, not the page alone; no cell is a formula to a spreadsheet."""
    loaded = chosen(request, query)
    conditions = conditions_of(query.where, loaded.catalogue)

    def answer() -> bytes:
        shelf = request.service.state.shelf(loaded)
        try:
            rows = shelf.rows(query.search, conditions, query.sort)
        except TastemakerError as error:
            raise Refusal(422, str(error)) from None
        frame = pl.DataFrame(
            [
                loaded.model.products.ids.gather(rows).alias("product_id"),
                pl.Series("buyers", request.service.state.index(loaded).buyers[rows]),
            ]
        )
        if loaded.catalogue.frame.width:
            others = loaded.catalogue.frame.select(pl.all().gather(rows))
            others = others.rename({name: f"{name}_" for name in others.columns if name in frame.columns})
            frame = frame.hstack([_flat(series) for series in others.iter_columns()])
        return harmless(frame).write_csv().encode()

    content = await request.service.engine.run(answer)
    name = 'attachment; filename="products.csv"'
    return Content(content, CSV, headers={"Content-Disposition": name, "Cache-Control": "no-store"})


def _products(loaded: LoadedModel, shelf: Shelf, rows: Rows) -> list[OnShelf]:
    recent = shelf.recent
    return [
        OnShelf(
            loaded.product_ids.one(row),
            int(shelf.buyers[row]),
            None if recent is None else int(recent[row]),
            about(loaded.catalogue, row),
        )
        for row in rows.tolist()
    ]


def _flat(series: pl.Series) -> pl.Series:
    """Return a column as a CSV can hold it: lists are joined by commas."""
    if isinstance(series.dtype, pl.List):
        return series.cast(pl.List(pl.String)).list.join(", ")
    return series if not series.dtype.is_nested() else series.map_elements(str, pl.String)
