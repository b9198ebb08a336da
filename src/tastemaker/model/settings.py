"""The parts of `Config`: one frozen dataclass each, with its own check and a docstring that says what larger and smaller do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tastemaker.errors import SettingProblem

__all__ = [
    "KindSettings",
    "LiveSettings",
    "MemorySettings",
    "OrderSettings",
    "PopularitySettings",
    "RepeatSettings",
    "TasteSettings",
    "TokenSettings",
    "TrendSettings",
]

ONE_OR_MORE = (1, "at least 1")
ABOVE_ZERO = (math.ulp(0.0), "a finite number above 0")
ZERO_OR_MORE = (0, "a finite number, 0 or more")
FINITE = (-math.inf, "a finite number")


def _check(part: str, settings: Any, least: Mapping[str, tuple[float, str]]) -> None:
    """Raise `SettingProblem` for a number below what its setting allows; None is a setting that chooses itself."""
    for name, (bound, wanted) in least.items():
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value >= bound):
            raise SettingProblem(f"{part}.{name} is {value}; it must be {wanted}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TasteSettings:
    """Settings of the vectors: `taste.NAME`.

    query
        ``free`` learns one vector for each user; ``composed`` makes a user from the products they bought, and so answers
        visitors without an account, too.
    objective
        Composed only: ``softmax`` learns the vectors; ``spectral`` computes them, the strongest directions of the purchases, for
        logs of bare pairs with long histories. Then ``memory.spectral_weight`` weighs them beside the bias, too, and the memory
        holds what they leave. ``cosine`` learns vectors of which only the direction counts, from whole users against thousands
        of shared negatives, and puts the computed ones beside them. None: chosen on a held-out part (``auto`` as text).
    dimensions
        D, the length of the vectors. Larger: finer tastes on long logs, more time and memory. Smaller: faster, coarser.
    epochs
        Passes over the purchases. Larger: closer to the log, in the end too close. Smaller: vaguer. None: chosen on a held-out
        part (``auto`` as text; composed only).
    negatives
        S, the sampled products that a bought product competes with. Larger: steadier steps that cost more. Smaller: noisier.
    batch
        B, the purchases whose updates are applied together (composed: about as many, because users are kept whole). Larger:
        fewer, steadier steps. Smaller: more steps from fresher vectors.
    learning_rate
        The step of plain gradient descent (free) or of Adagrad (composed). Larger: faster, until the loss grows without bound.
        Smaller: slower, needs more epochs.
    initial_scale
        Vectors start at random within ± this (free) or with this standard deviation (composed). Larger: the start is remembered
        longer. Smaller: learning starts later.
    members
        Composed only: models learned side by side from different draws; they share the dimensions, and their scores are averaged.
        Larger: less noise, shorter vectors each, and one thread each. Smaller: the opposite.
    sampling
        Composed only: where negatives come from: ``shared`` by the batch and drawn by popularity, ``batch`` (its own purchases)
        or ``all`` products (exact, slow).
    popularity_power
        Composed only: shared negatives are drawn in proportion to buyers^power. Larger: best sellers are pushed down more often.
        0: every product alike.
    decay
        Composed only: how far a product's vector is pulled to zero each time it was bought. Larger: simpler tastes. Smaller: closer
        to the log. None: follows from the mean length of the histories.
    rare_decay
        Composed only: the same, divided by the product's buyers. Larger: rare products stay near zero, and are recommended less.
    damping
        A basket's n vectors are summed and divided by n^damping. Larger: long histories weigh no more than short ones (1 is the
        mean). 0: the plain sum.
    horizon
        Composed only: the epochs over which the learning rate falls, when training stops before. Larger: the rate falls more
        slowly. 0: the same as ``epochs``.
    shards
        Composed only: users are parted by a hash of their ids, and the parts learn side by side, each on a copy of the vectors,
        which are put together 16 times an epoch. Larger: more threads can work; the vectors differ a little. 1: no parts.
    temperature
        Cosine only: a cosine is divided by it. Larger: softer, for histories that agree less. Smaller: sharper.
    bias_weight
        Cosine only: the weight of the learned bias in lists. Larger: best sellers come first. Smaller: they count for less.
    """

    query: Literal["free", "composed"]
    dimensions: int
    epochs: int | None
    negatives: int
    batch: int
    learning_rate: float
    initial_scale: float
    members: int = 1
    sampling: Literal["shared", "batch", "all"] = "shared"
    popularity_power: float = 0.0
    decay: float | None = 0.0
    rare_decay: float = 0.0
    damping: float = 0.5
    horizon: int = 0
    shards: int = 1
    objective: Literal["softmax", "spectral", "cosine"] | None = "softmax"
    temperature: float = 0.1
    bias_weight: float = 1.0

    def __post_init__(self) -> None:
        names = ("dimensions", "epochs", "negatives", "batch", "members", "shards")
        counts = dict.fromkeys(names, ONE_OR_MORE)
        scales = dict.fromkeys(("learning_rate", "initial_scale", "temperature"), ABOVE_ZERO)
        names = ("popularity_power", "decay", "rare_decay", "damping", "horizon", "bias_weight")
        rest = dict.fromkeys(names, ZERO_OR_MORE)
        _check("taste", self, counts | scales | rest)
        if self.query == "free" and self.epochs is None:
            raise SettingProblem("taste.epochs is not given; a model of free users does not choose them.")
        if self.query == "free" and self.objective != "softmax":
            raise SettingProblem(f"taste.objective is {self.objective}; a model of free users needs softmax.")


MOST_BITS = 24
"""With these, a sum of 500 million users of weight 1 is still a whole number that a double holds exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """Settings of the memory, the sparse table of products bought by the same users: `memory.NAME`. Composed users only.

    damping
        What the memory says of a basket's n products is summed and divided by n^damping. Larger: long histories weigh less beside
        taste. 0: the plain sum.
    count_weight
        The weight of common purchases. Larger: lists follow what was bought by the same users. 0: none. None: chosen on a
        held-out part (``auto`` as text).
    count_power
        Common purchases are divided by (buyers · buyers)^power. Larger: rare pairs count more (½ gives cosines). 0: plain counts,
        which favour best sellers.
    count_damping
        A user of n products counts as n^-damping. Larger: users who buy everything say less. 0: everybody counts alike.
    partners
        M, how many partners of a product are kept. Larger: more of the tail, more memory, slower lists. Smaller: the opposite.
    ridge_weight
        The weight of the regression among neighbours. Larger: lists follow what a product adds beyond its neighbours. 0: none.
        None: chosen on a held-out part (``auto`` as text).
    ridge_penalty
        What is added to the diagonal of the regression. Larger: smoother, closer to counts. Smaller: sharper, noisier.
    ridge_damping
        A user of n products counts as n^-damping in the regression. Larger: users who buy everything say less.
    ridge_neighbours
        The neighbours that explain a product. Larger: closer to EASE, at a cost of their cube. Smaller: faster.
    spectral_weight
        The weight of the spectral part, the projection on the strongest singular vectors. Larger: lists follow what long histories
        have in common. 0: none. None: chosen on a held-out part (``auto`` as text), where histories are long.
    spectral_rank
        K, the singular vectors. Larger: finer, for long logs; in time and memory it costs as much more. Smaller: coarser.
    spectral_partners
        How many weights of a product are kept. Larger: closer to the whole projection, more memory, slower lists. 0: none, and
        the vectors say all: they are the directions with ``taste.objective`` spectral, and hold them behind their own dimensions
        with softmax.
    spectral_user_power
        A user of n products counts as n^-power. Larger: users who buy everything say less.
    spectral_product_power
        A product of n buyers counts as n^-power. Larger: rare products shape the directions more.
    spectral_tilt
        A weight is multiplied by (buyers found / buyers in the basket)^tilt. Larger: best sellers are found more often.
    spectral_passes
        Passes over the purchases that find the vectors. Larger: closer to the true ones. Smaller: faster.
    number_weight
        The weight of neighbours by number, where the ids of products are numbers. Larger: lists follow what is listed together.
        0: none. None: chosen on a held-out part (``auto`` as text), for logs of bare pairs with short histories and no times.
    directed_weight
        The weight of steps: how often a product was bought after another, for logs with times. Larger: lists follow the order of
        buying. 0: none. None: chosen on a held-out part (``auto`` as text).
    directed_fade
        A step over n other purchases counts fade^n. Larger: longer steps count, too.
    sum_bits
        Sums over users (common purchases, the regression's matrix) are whole numbers of 2^-bits, exact in whatever order and by
        whatever parts users are added; 24, the most, is as fine as float32. 0: float32, in the order of the users.
    """

    damping: float = 0.25
    count_weight: float | None = 0.0
    count_power: float = 0.4
    count_damping: float = 0.25
    partners: int = 200
    ridge_weight: float | None = 0.0
    ridge_penalty: float = 10.0
    ridge_damping: float = 0.5
    ridge_neighbours: int = 50
    spectral_weight: float | None = 0.0
    spectral_rank: int = 512
    spectral_partners: int = 400
    spectral_user_power: float = 0.3
    spectral_product_power: float = 0.4
    spectral_tilt: float = 0.15
    spectral_passes: int = 6
    number_weight: float | None = 0.0
    directed_weight: float | None = 0.0
    directed_fade: float = 0.7
    sum_bits: int = 0

    def __post_init__(self) -> None:
        weights = (
            "damping", "count_weight", "count_power", "count_damping", "ridge_weight", "ridge_damping",
            "spectral_weight", "spectral_user_power", "spectral_product_power", "spectral_tilt",
            "number_weight", "directed_weight", "directed_fade",
        )  # fmt: skip
        counts = dict.fromkeys(
            ("partners", "ridge_neighbours", "spectral_rank", "spectral_passes"),
            ONE_OR_MORE,
        ) | {"spectral_partners": ZERO_OR_MORE}
        if not 0 <= self.sum_bits <= MOST_BITS:
            raise SettingProblem(f"memory.sum_bits is {self.sum_bits}; it must be from 0 to {MOST_BITS}.")
        _check("memory", self, counts | dict.fromkeys(weights, ZERO_OR_MORE) | {"ridge_penalty": ABOVE_ZERO})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendSettings:
    """Settings of recent popularity, for logs with times: `trend.NAME`. Composed users only.

    weight
        How much a product gains that sold better of late than before. Larger: lists follow the season. 0: popularity over the
        whole log. None: chosen on a held-out part (``auto`` as text).
    """

    weight: float | None = 0.0

    def __post_init__(self) -> None:
        _check("trend", self, {"weight": ZERO_OR_MORE})


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularitySettings:
    """Settings of what sales say: `popularity.NAME`. Composed users only.

    tail
        From 0 to 1: the part of log(1 + buyers) that is taken from every score. Larger: the long tail gets more places. 0: lists
        rank as learned. A dial above 0 that is given with a request takes its place. None: chosen on a held-out part by
        ``effort="thorough"`` (``auto`` as text), for learned vectors and logs of bare pairs; else 0.
    """

    tail: float | None = 0.0

    def __post_init__(self) -> None:
        _check("popularity", self, {"tail": ZERO_OR_MORE})
        if self.tail is not None and self.tail > 1:
            raise SettingProblem(f"popularity.tail is {self.tail}; it must be from 0 to 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatSettings:
    """Settings of lists that may show what a user has bought before: `repeats.NAME`. Composed users only.

    All of them may be None: chosen on a held-out part (``auto`` as text).

    weight
        What log(1 + times the user bought the product) weighs. Larger: what was bought often comes first. 0: no lift.
    sales
        The same for log(1 + how often anybody bought the product again of late). Larger: products that are bought again and
        again come first. 0: no lift.
    level
        What every product bought before gains. Larger: repeats before new products. Negative: repeats after them.
    """

    weight: float | None = 0.0
    sales: float | None = 0.0
    level: float | None = 0.0

    def __post_init__(self) -> None:
        _check("repeats", self, {"weight": ZERO_OR_MORE, "sales": ZERO_OR_MORE, "level": FINITE})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSettings:
    """Settings of age, for logs with times: `order.NAME`. Composed users only.

    A purchase weighs ½^(place / places) · ½^(age / days) · 2^(strength · its own): its place is the number of later moments at
    which the user bought, its own strength is that of its rating or quantity. All of them may be None: chosen on a held-out part
    (``auto`` as text).

    taste_places
        The half-life in the query's vector, in places. Larger: older purchases still count. 0: all count alike.
    taste_days
        The same in days, counted from the moment of asking.
    memory_places
        The half-life in what the memory says of a purchase, in places. Larger: older purchases still count. 0: all count alike.
    memory_days
        The same in days, counted from the moment of asking.
    taste_strength
        How much the query's vector heeds ratings or quantities (`--weight-column`). Larger: more. 0: not at all.
    memory_strength
        The same in what the memory says of a purchase.
    """

    taste_places: float | None = 0.0
    taste_days: float | None = 0.0
    memory_places: float | None = 0.0
    memory_days: float | None = 0.0
    taste_strength: float | None = 0.0
    memory_strength: float | None = 0.0

    def __post_init__(self) -> None:
        names = (
            "taste_places",
            "taste_days",
            "memory_places",
            "memory_days",
            "taste_strength",
            "memory_strength",
        )
        _check("order", self, dict.fromkeys(names, ZERO_OR_MORE))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """Settings of what moves with every event, for logs with times: `live.NAME`. Composed users only.

    rate
        The weight of the rate of sales, which takes the place of the learned bias. 0: the learned bias. None: chosen on a held-out
        part (``auto`` as text), like the settings below.
    half_life
        Days after which a purchase counts half in the rate. Larger: steadier. Smaller: follows the season.
    kappa
        Purchases that the catalogue begins with, shared by its products. Larger: products that seldom sell rank higher.
    fold_in
        How far a product's vector moves to those who buy it since training: what the spread of the products' vectors is multiplied
        by. Larger: quicker. 0: it stands still.
    dial
        What products gain that were never sold in train. Larger: new products are shown more, known ones less.
    young
        Days that damp how the count of a product that began to sell lately is raised, as if it had sold since the log began.
        Smaller: raised more. 0: no count is raised.
    """

    rate: float | None = 0.0
    half_life: float | None = 30.0
    kappa: float = 40.0
    fold_in: float | None = 0.0
    dial: float | None = 0.0
    young: float | None = 0.0

    def __post_init__(self) -> None:
        least = dict.fromkeys(("rate", "fold_in", "dial", "young"), ZERO_OR_MORE)
        _check("live", self, least | dict.fromkeys(("half_life", "kappa"), ABOVE_ZERO))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """Settings of attributes and contexts, for logs that have them: `tokens.NAME`. Composed users only.

    columns
        The columns to learn from, as ``context:NAME``, ``user:NAME`` or ``product:NAME``, separated by commas. None: those that
        help on a held-out part (``auto`` as text). Empty: none.
    decay
        How far a token's vector is pulled to zero each time it took part. Larger: simpler. Smaller: closer to the log.
    query_decay
        The same for what says something of the query, contexts and attributes of users. None: as ``decay`` (``auto`` as text).
    """

    columns: str | None = ""
    decay: float = 0.02
    query_decay: float | None = None

    def __post_init__(self) -> None:
        _check("tokens", self, {"decay": ZERO_OR_MORE, "query_decay": ZERO_OR_MORE})


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSettings:
    """Settings of events other than purchases, for logs that tell kinds apart: `kinds.NAME`. Composed users only.

    The first three are text such as ``view=20,cart=80``. All of them may be None: chosen on a held-out part (``auto`` as text).

    own
        What an event adds to the score of its own product. Larger: what was viewed or put in the basket comes first.
    after
        The weight of what is bought after an event with a product.
    taste
        The weight of the product's vector in the query, where a purchase has 1.
    places
        The half-life of an event, in later events of its kind. Larger: older events still count. 0: events do not fade.
    days
        The same in days, counted from the moment of asking.
    """

    own: str | None = ""
    after: str | None = ""
    taste: str | None = ""
    places: float | None = 0.0
    days: float | None = 0.0

    def __post_init__(self) -> None:
        _check("kinds", self, dict.fromkeys(("places", "days"), ZERO_OR_MORE))
        for name in ("own", "after", "taste"):
            self.of(name)

    def of(self, name: str) -> dict[str, float]:
        """Return ``own``, ``after`` or ``taste`` as numbers by kind; raise `SettingProblem` for a text that holds none."""
        text = getattr(self, name) or ""
        try:
            parts = [part.rsplit("=", 1) for part in text.split(",") if part.strip()]
            return {kind.strip(): float(value) for kind, value in parts}
        except ValueError:
            raise SettingProblem(f"kinds.{name} is {text!r}; write it as KIND=NUMBER,KIND=NUMBER.") from None

    def with_one(self, name: str, kind: str, value: float) -> str:
        """Return ``own``, ``after`` or ``taste`` as text, with the number of one kind replaced."""
        values = self.of(name) | {kind: value}
        return ",".join(f"{named}={number:g}" for named, number in values.items() if number)
