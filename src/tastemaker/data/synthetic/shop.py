"""The built-in synthetic shop: a year of fashion purchases, made from tastes that are planted and therefore known.

The truth is one softmax. User ``u`` buys product ``p`` with a probability proportional to

    exp(taste[u] · style[p] + popularity[p])

among the products that ``u`` has not bought yet; nobody buys the same product twice. ``style[p]`` marks with
ones the department, style, palette and size range of the product, and adds the character and the price level
of its brand; ``taste[u]`` says how much the user cares about each. ``popularity`` is the logarithm of a
log-normal variable, so that a few products sell very often and most sell seldom. Tastes last all year.

The draw is exact and takes time linear in users, products and purchases. All of the match but the palette is
the same for every product of a *cell* (department, brand, size range): a purchase draws a cell, then one of
its products by popularity, and is redrawn when the palette fails to please or the product was bought before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import held_sorted
from tastemaker.data.summary import ReadSummary
from tastemaker.data.synthetic import shop_vocabulary
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.storage import writing
from tastemaker.types import Doubles, Floats, Offsets, Rows, Times

__all__ = ["Shop", "ShopFiles", "make_shop", "true_scores", "write_log", "write_shop"]

DEPARTMENT, STYLE, BRAND, LEVEL = slice(0, 2), slice(2, 10), slice(10, 14), slice(14, 15)
PALETTE, SIZE, WIDTH = slice(15, 19), slice(19, 23), 23
"""Where each attribute stands among the F = 23 features of ``Shop.taste`` and ``Shop.style``."""

BRANDS: Final = tuple(brand for style in shop_vocabulary.STYLES for brand in shop_vocabulary.BRANDS[style])
BRAND_STYLES: Final = np.repeat(np.arange(8), 5)
BRAND_LEVELS: Final = np.tile(np.asarray(shop_vocabulary.LEVELS, dtype=np.float32), 8)
CELLS: Final = 2 * len(BRANDS) * 4

USERS_AT_ONCE: Final = 1_024
ROUNDS: Final = 500
"""Redraws before the few users still short get an exact draw over all products (`_finish`)."""

YEAR_START: Final = 1_704_067_200
"""2024-01-01 00:00 UTC in seconds since 1970."""
MONTH_DAYS: Final = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
MONTH_TRADE: Final = np.array([0.9, 0.7, 0.85, 0.9, 1, 1, 0.9, 0.85, 1, 1.05, 1.5, 1.6])
"""How much is sold on a day of each month, relative to May."""


@dataclass(frozen=True, slots=True, repr=False)
class Shop:
    """A synthetic shop: what a shop knows (purchases, catalogue) and what only its maker knows (the rest)."""

    purchases: Purchases
    """In order of time, with times and quantities; all users and products are in its vocabularies."""
    catalogue: pl.DataFrame
    """One row per product in vocabulary order: product_id, name, department, category, style, brand, colour,
    size, price."""
    taste: Floats
    """``float32[U, F]``: how much each user cares about each feature."""
    style: Floats
    """``float32[P, F]``: the features of each product."""
    popularity: Floats
    """``float32[P]``: the logarithm of each product's appeal to a user without a taste."""

    def __repr__(self) -> str:
        return f"Shop({self.purchases!r})"


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """Where `write_shop` put the shop."""

    purchases: Path
    """Parquet: user_id, product_id, time, quantity."""
    products: Path
    """Parquet: the catalogue."""
    users: Path
    """Parquet: user_id."""


def make_shop(*, users: int = 4_000, products: int = 1_200, purchases: int = 40_000, seed: int = 0) -> Shop:
    """Build a shop of exactly this many users, products and purchases; the same seed builds the same shop.

    Every user bought something when there are purchases enough; some products may be unbought. No user buys a
    product twice. The ASOS data have the size ``users=43_607, products=29_696, purchases=165_042``. User ids
    are text (``c-000001``), product ids are integers. Raises `SettingProblem` when a number is not positive,
    or when there are more purchases than pairs of a user and a product.

    >>> shop = make_shop(users=50, products=40, purchases=300, seed=1)
    >>> len(shop.purchases), len(shop.purchases.users), shop.catalogue.height
    (300, 50, 40)
    """
    _check(users, products, purchases, seed)
    rng = np.random.default_rng(seed)
    attributes = _draw_attributes(products, rng)
    brand_characters = _characters(rng)
    style = _features(attributes, brand_characters)
    appeal = rng.lognormal(sigma=1.2, size=products)
    taste = _draw_tastes(users, rng)
    counts = _draw_counts(users, products, purchases, rng)
    draft = _Draft(taste, style, appeal, _Cells.of(attributes, appeal, brand_characters))
    product_rows = _draw_products(draft, counts, rng)
    order = rng.permutation(purchases)
    log = Purchases(
        Vocabulary.of(_user_ids(users), noun="user"),
        Vocabulary.of(pl.int_range(1_000_001, 1_000_001 + products, eager=True), noun="product"),
        np.repeat(np.arange(users, dtype=np.int32), counts)[order],
        product_rows[order],
        _draw_times(purchases, rng),
        rng.choice(np.array([1, 2, 3], dtype=np.float32), p=(0.9, 0.08, 0.02), size=purchases),
        ReadSummary(rows=purchases),
    )
    catalogue = _catalogue(log.products.ids, attributes, rng)
    return Shop(log, catalogue, taste, style, np.log(appeal).astype(np.float32))


def true_scores(shop: Shop, user_rows: Rows) -> Floats:
    """Return ``taste[u] · style[p] + popularity[p]`` for these users and all products, ``float32[Q, P]``.

    No model can rank better in the long run: it is the logarithm, up to a constant per user, of the
    probability with which the user buys each product next.
    """
    return np.asarray(shop.taste[user_rows] @ shop.style.T + shop.popularity)


def write_shop(shop: Shop, folder: Path | str) -> ShopFiles:
    """Write the shop into the folder as three Parquet files, and say where they are.

    The folder is made when missing; each file replaces an older one only when it is whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    users = shop.purchases.users.ids.alias("user_id").to_frame()
    return ShopFiles(
        write_log(shop.purchases, folder / "purchases.parquet"),
        _write(shop.catalogue, folder / "products.parquet"),
        _write(users, folder / "users.parquet"),
    )


def write_log(log: Purchases, path: Path) -> Path:
    """Write a log with its times and quantities, where it has them, as a Parquet file; return its path."""
    columns = [
        log.users.at(log.user_rows).alias("user_id"),
        log.products.at(log.product_rows).alias("product_id"),
    ]
    if log.times is not None:
        columns.append(pl.Series("time", log.times).cast(pl.Datetime("us")))
    if log.quantities is not None:
        columns.append(pl.Series("quantity", log.quantities).cast(pl.Int32))
    return _write(pl.DataFrame(columns), path)


def _write(table: pl.DataFrame, path: Path) -> Path:
    with writing(path) as temporary:
        table.write_parquet(temporary)
    return path


def _check(users: int, products: int, purchases: int, seed: int) -> None:
    for name, value in (("users", users), ("products", products), ("purchases", purchases)):
        if value < 1:
            raise SettingProblem(f"A shop of {value:,} {name} was asked for; {name} must be at least 1.")
    if purchases > users * products:
        raise SettingProblem(
            f"{purchases:,} purchases were asked for, but {users:,} users can buy {products:,} products only "
            f"{users * products:,} times, each once; ask for fewer purchases or a larger shop."
        )
    if seed < 0:
        raise SettingProblem(f"The seed is {seed}; it must be 0 or more.")


# Products ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Attributes:
    """What each product is, as positions in the tables of `shop_vocabulary`; every array is ``uint8[P]``."""

    department: npt.NDArray[np.uint8]
    brand: npt.NDArray[np.uint8]
    size: npt.NDArray[np.uint8]
    category: npt.NDArray[np.uint8]
    palette: npt.NDArray[np.uint8]

    @property
    def style(self) -> npt.NDArray[np.int64]:
        return BRAND_STYLES[self.brand]

    @property
    def cell(self) -> npt.NDArray[np.int64]:
        return (self.department * np.int64(len(BRANDS)) + self.brand) * 4 + self.size


def _draw_attributes(products: int, rng: np.random.Generator) -> _Attributes:
    brand_shares = rng.lognormal(sigma=0.4, size=len(BRANDS))
    brand = _pick(brand_shares / brand_shares.sum(), products, rng)
    department = _pick(np.array([0.6, 0.4]), products, rng)
    styles = BRAND_STYLES[brand]
    palettes = rng.dirichlet(np.full(4, 1.5), size=8)
    return _Attributes(
        department,
        brand,
        _pick(np.array([0.55, 0.15, 0.12, 0.18]), products, rng),
        _pick_of_each(_category_shares()[department, styles], rng),
        _pick_of_each(palettes[styles], rng),
    )


def _characters(rng: np.random.Generator) -> Floats:
    """Return a random unit vector for each brand, ``float32[brands, 4]``."""
    vectors = rng.standard_normal((len(BRANDS), 4))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _category_shares() -> Doubles:
    """Return each category's share of a department's products of a style, ``float64[2, 8, categories]``."""
    shares = [
        [
            [
                (department in c.departments) * (4.0 if style in c.styles else 1.0)
                for c in shop_vocabulary.CATEGORIES
            ]
            for style in shop_vocabulary.STYLES
        ]
        for department in shop_vocabulary.DEPARTMENTS
    ]
    table = np.array(shares)
    return np.asarray(table / table.sum(axis=2, keepdims=True))


def _pick(shares: Doubles, count: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return rng.choice(len(shares), p=shares, size=count).astype(np.uint8)


def _pick_of_each(shares: Doubles, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw one position from each row of shares, ``float64[n, choices]``."""
    borders = np.cumsum(shares[:, :-1], axis=1)
    return np.asarray((borders <= rng.random((len(shares), 1))).sum(axis=1), dtype=np.uint8)


def _features(attributes: _Attributes, brand_characters: Floats) -> Floats:
    every = np.arange(len(attributes.brand))
    style = np.zeros((len(every), WIDTH), dtype=np.float32)
    style[every, DEPARTMENT.start + attributes.department] = 1
    style[every, STYLE.start + attributes.style] = 1
    style[:, BRAND] = brand_characters[attributes.brand]
    style[:, LEVEL] = BRAND_LEVELS[attributes.brand, None]
    style[every, PALETTE.start + attributes.palette] = 1
    style[every, SIZE.start + attributes.size] = 1
    return style


def _catalogue(ids: pl.Series, attributes: _Attributes, rng: np.random.Generator) -> pl.DataFrame:
    """Name and price the products; the second product of one name is called "..., no. 2"."""
    shade, word, noun, material = rng.integers(0, (4, 6, 12, 12), size=(len(ids), 4), dtype=np.uint8).T
    category = attributes.category
    nouns = [[c.nouns[i % len(c.nouns)] for i in range(12)] for c in shop_vocabulary.CATEGORIES]
    materials = [[c.materials[i % len(c.materials)] for i in range(12)] for c in shop_vocabulary.CATEGORIES]
    colours = [shop_vocabulary.COLOURS[palette] for palette in shop_vocabulary.PALETTES]
    table = pl.DataFrame(
        {
            "product_id": ids,
            "department": _words(shop_vocabulary.DEPARTMENTS, attributes.department),
            "category": _words([c.name for c in shop_vocabulary.CATEGORIES], category),
            "style": _words(shop_vocabulary.STYLES, attributes.style),
            "brand": _words(BRANDS, attributes.brand),
            "colour": _words(np.ravel(colours).tolist(), attributes.palette * 4 + shade),
            "size": _words(shop_vocabulary.SIZES, attributes.size),
            "price": _prices(attributes, rng),
            "adjective": _words(
                [a for s in shop_vocabulary.STYLES for a in shop_vocabulary.ADJECTIVES[s]],
                attributes.style * 6 + word,
            ),
            "material": _words(np.ravel(materials).tolist(), category * 12 + material),
            "noun": _words(np.ravel(nouns).tolist(), category * 12 + noun),
        }
    )
    cut = pl.when(pl.col("size") == "regular").then(pl.lit("")).otherwise(" " + pl.col("size"))
    name = pl.format("{}{} {} {} {}, {}", "brand", cut, "adjective", "material", "noun", "colour")
    nth = pl.int_range(1, pl.len() + 1).over("name")
    numbered = pl.when(nth > 1).then(pl.format("{}, no. {}", "name", nth)).otherwise("name")
    names = table.lazy().select(name.alias("name")).select(numbered.alias("name")).collect().to_series()
    return table.drop("adjective", "material", "noun").insert_column(1, names)


def _words(words: list[str] | tuple[str, ...], chosen: npt.NDArray[np.integer]) -> pl.Series:
    return pl.Series(words, dtype=pl.String).gather(pl.Series(chosen.astype(np.uint32)))


def _prices(attributes: _Attributes, rng: np.random.Generator) -> Doubles:
    base = np.array([c.price for c in shop_vocabulary.CATEGORIES])[attributes.category]
    dear = 1.8 ** BRAND_LEVELS[attributes.brand].astype(np.float64)
    spread = rng.lognormal(sigma=0.2, size=len(base))
    return np.asarray(np.maximum(np.rint(base * dear * spread), 5) - 0.01)


# Users ------------------------------------------------------------------------------------------------------


def _user_ids(users: int) -> pl.Series:
    digits = max(6, len(str(users)))
    number = pl.int_range(1, users + 1, eager=True).cast(pl.String)
    return pl.select("c-" + pl.lit(number).str.zfill(digits)).to_series()


def _draw_tastes(users: int, rng: np.random.Generator) -> Floats:
    """Give each user a department, one or two favourite styles, a size range, and leanings for the rest."""
    every = np.arange(users)
    taste = np.zeros((users, WIDTH), dtype=np.float32)
    taste[every, DEPARTMENT.start + (rng.random(users) < 0.4)] = 3.5
    taste[:, STYLE] = 0.5 * rng.standard_normal((users, 8), dtype=np.float32)
    first = rng.integers(0, 8, size=users)
    second = (first + rng.integers(1, 8, size=users)) % 8
    taste[every, STYLE.start + second] += rng.uniform(0, 3, size=users).astype(np.float32)
    taste[every, STYLE.start + first] += 3.5
    taste[:, BRAND] = rng.standard_normal((users, 4), dtype=np.float32)
    taste[:, LEVEL] = 0.8 * rng.standard_normal((users, 1), dtype=np.float32)
    taste[:, PALETTE] = 0.8 * rng.standard_normal((users, 4), dtype=np.float32)
    taste[every, SIZE.start + _pick(np.array([0.6, 0.13, 0.1, 0.17]), users, rng)] = 2
    return taste


def _draw_counts(users: int, products: int, purchases: int, rng: np.random.Generator) -> Offsets:
    """Share out the purchases, ``int64[U]``: one each, the rest by a log-normal zeal of mean 1, at most 8."""
    zeal = np.minimum(rng.lognormal(mean=-0.72, sigma=1.2, size=users), 8.0)
    first = _share_out(np.ones(users), min(users, purchases))
    counts = first + _share_out(zeal, purchases - int(first.sum()))
    spare = np.maximum(products - counts, 0)
    excess = int(np.maximum(counts - products, 0).sum())
    return np.asarray(np.minimum(counts, products) + _share_out(spare.astype(np.float64), excess))


def _share_out(weights: Doubles, total: int) -> Offsets:
    """Divide a total into whole parts in proportion to the weights, each part rounded up or down."""
    sums = np.cumsum(weights)
    if not total or not sums[-1]:
        return np.zeros(len(weights), dtype=np.int64)
    return np.asarray(np.diff(np.rint(sums / sums[-1] * total).astype(np.int64), prepend=0))


def _draw_times(purchases: int, rng: np.random.Generator) -> Times:
    """Draw moments of 2024 in ascending order, whole seconds; a winter day sees more of them."""
    trade = np.concatenate(([0.0], np.cumsum(MONTH_DAYS * MONTH_TRADE)))
    days = np.concatenate(([0], np.cumsum(MONTH_DAYS)))
    moments = np.interp(rng.random(purchases), trade / trade[-1], days)
    moments.sort()
    seconds = np.floor(moments * 86_400).astype(np.int64) + YEAR_START
    return seconds * 1_000_000


# Purchases --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cells:
    """The products sorted by cell, ready for drawing one of a cell by popularity."""

    order: Rows
    """``int32[P]``: product rows, cell after cell."""
    borders: Doubles
    """``float64[P]``: cell + the share of its appeal up to and including this product, ascending."""
    mass: Floats
    """``float32[2, brands, 4]``: the appeal of each cell's products together."""
    brand_features: Floats
    """``float32[brands, 13]``: style, character and price level of each brand."""
    palette: npt.NDArray[np.uint8]
    """``uint8[P]``, in order of product rows."""

    @classmethod
    def of(cls, attributes: _Attributes, appeal: Doubles, brand_characters: Floats) -> _Cells:
        cell = attributes.cell
        order = np.argsort(cell, kind="stable")
        cell = cell[order]
        mass = np.bincount(cell, weights=appeal[order], minlength=CELLS)
        before = np.concatenate(([0.0], np.cumsum(mass)))[cell]
        share = (np.cumsum(appeal[order]) - before) / mass[cell]
        share[np.flatnonzero(np.diff(cell, append=CELLS))] = 1.0
        borders = np.maximum.accumulate(cell + np.clip(share, 0.0, 1.0))
        brands = np.hstack(
            (np.eye(8, dtype=np.float32)[BRAND_STYLES], brand_characters, BRAND_LEVELS[:, None])
        )
        grid = mass.astype(np.float32).reshape(2, len(BRANDS), 4)
        return cls(order.astype(np.int32), borders, grid, brands, attributes.palette)

    def propose(self, who: Offsets, chances: Doubles, rng: np.random.Generator) -> Rows:
        """Draw for each of these users a cell, then a product of the cell by its appeal, ``int32[n]``."""
        places = np.searchsorted(chances, who + rng.random(len(who)), side="right")
        cell = np.minimum(places - who * CELLS, CELLS - 1)
        places = np.searchsorted(self.borders, cell + rng.random(len(who)), side="right")
        return np.asarray(self.order[np.minimum(places, len(self.order) - 1)])

    def chances(self, taste: Floats) -> Doubles:
        """Return user + chance of the cells up to and with this, ``float64[users * CELLS]``, ascending."""
        # einsum rather than a matrix product: its sums do not depend on the number of threads.
        brand = np.einsum("uf,bf->ub", taste[:, STYLE.start : LEVEL.stop], self.brand_features)
        brand = np.exp(brand - brand.max(axis=1, keepdims=True))
        size = np.exp(taste[:, SIZE])
        match = (
            np.exp(taste[:, DEPARTMENT])[:, :, None, None] * (brand[:, :, None] * size[:, None, :])[:, None]
        )
        sums = np.multiply(match, self.mass, dtype=np.float64).reshape(len(taste), CELLS)
        np.cumsum(sums, axis=1, out=sums)
        sums /= sums[:, -1:].copy()
        sums += np.arange(len(taste))[:, None]
        return np.asarray(sums.reshape(-1))


@dataclass(frozen=True, slots=True)
class _Draft:
    """A shop before its first purchase."""

    taste: Floats
    style: Floats
    appeal: Doubles
    """``float64[P]``"""
    cells: _Cells


def _draw_products(shop: _Draft, counts: Offsets, rng: np.random.Generator) -> Rows:
    """Draw each user's products, ``int32[N]``, user after user; a block of them stays in the cache."""
    blocks = [slice(start, start + USERS_AT_ONCE) for start in range(0, len(counts), USERS_AT_ONCE)]
    return np.concatenate([_draw_block(shop, block, counts[block], rng) for block in blocks])


def _draw_block(shop: _Draft, block: slice, counts: Offsets, rng: np.random.Generator) -> Rows:
    """Redraw what did not please or was bought before, until every user has enough.

    Keeping the first ``n`` distinct of independent draws is drawing ``n`` products one after the other
    without putting them back, which is what the module promises.
    """
    taste, cells, products = shop.taste[block], shop.cells, len(shop.style)
    user = np.repeat(np.arange(len(counts)), counts)
    pairs = np.full(len(user), -1, dtype=np.int64)
    taken = np.empty(0, dtype=np.int64)
    chances = cells.chances(taste)
    palette = taste[:, PALETTE]
    keenness = np.exp(palette - palette.max(axis=1, keepdims=True))
    missing = np.arange(len(user))
    for _ in range(ROUNDS):
        who = user[missing]
        product = cells.propose(who, chances, rng)
        pleases = rng.random(len(who), dtype=np.float32) < keenness[who, cells.palette[product]]
        drawn, firsts = np.unique((who * products + product)[pleases], return_index=True)
        fresh = ~held_sorted(taken, drawn)
        pairs[missing[pleases][firsts[fresh]]] = drawn[fresh]
        taken = np.sort(np.concatenate((taken, drawn[fresh])), kind="stable")
        missing = missing[pairs[missing] < 0]
        if not len(missing):
            break
    chosen = np.where(pairs < 0, -1, pairs - user * products).astype(np.int32)
    for person in np.unique(user[missing]):
        mine = slice(*np.searchsorted(user, (person, person + 1)))
        chosen[mine] = _complete(shop, taste[person], chosen[mine], rng)
    return chosen


def _complete(shop: _Draft, taste: Floats, chosen: Rows, rng: np.random.Generator) -> Rows:
    """Fill the negative places of one user's products from all others: the best by score + Gumbel noise."""
    scores = shop.style @ taste + np.log(shop.appeal) + rng.gumbel(size=len(shop.style))
    scores[chosen[chosen >= 0]] = -np.inf
    filled = chosen.copy()
    filled[chosen < 0] = np.argsort(-scores, kind="stable")[: int((chosen < 0).sum())]
    return filled
