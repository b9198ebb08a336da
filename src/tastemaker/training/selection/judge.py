"""`Judge`: how well some settings rank the questions of a trial, with what was learned from its log."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np

from tastemaker.data.past import past_of
from tastemaker.data.ragged import distinct, offsets_of, owners_of
from tastemaker.data.tokens.bags import no_bags
from tastemaker.kernels.ranking.bags import compose_bags
from tastemaker.kernels.ranking.judging import gains_of_parts
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.live import FoldIn, Live, bias_of_counts, counts_at_moments, fold_in_of
from tastemaker.model.beside.order import Fading
from tastemaker.model.beside.sums import effective
from tastemaker.model.config import Config
from tastemaker.model.memory import Memory
from tastemaker.training.learners.composed import Composed
from tastemaker.training.learners.extras import askings, fadings, kinds_of, own_events
from tastemaker.training.memory.co_occurrence import memories
from tastemaker.training.memory.directed import followers, step_memory
from tastemaker.training.memory.spectral import spectral_memory
from tastemaker.training.memory.trend import trend_of
from tastemaker.training.selection.trial import Trial, TrialQuestions, sample_of_train
from tastemaker.types import AnyArray, Doubles, Floats, Offsets, Rows

__all__ = ["MEASURED_AT", "Judge"]

MEASURED_AT = 100
OF_PURCHASES = 4
"""Tables that speak of what was bought: common purchases, regression, steps, spectral part."""
SLICES = 24
"""How often rates and products' vectors move while a held-out part is replayed."""


class Scores:
    """The scores of all questions: one matrix for all judges of a trial, since they are much where there are many products."""

    def __init__(self) -> None:
        self._key: object = None
        self._room: Floats | None = None

    def of(self, key: object, shape: tuple[int, int], fill: Callable[[Floats], None]) -> Floats:
        """Return the matrix as it was filled last if that was under the same key, else filled anew."""
        if self._room is None or self._key != key:
            self._key = None
            self._room = np.empty(shape, np.float32) if self._room is None else self._room
            fill(self._room)
            self._key = key
        return self._room

    def let_go(self) -> None:
        """Hold no matrix until one is asked for."""
        self._key = self._room = None


class Judge:
    """What was learned from the log of a trial, and how its questions are ranked under any settings of asking."""

    def __init__(self, trial: Trial, learner: Composed, config: Config, pool: ThreadPool) -> None:
        self.trial, self.pool = trial, pool
        self.beside = learner.beside
        self.products = len(trial.log.products)
        self.taste, self.own_vectors = learner.taste(), learner.own_vectors()
        self.vectors = self.taste.vectors
        self.of_products = no_bags(self.products) if self.beside is None else self.beside.of_products
        self._histories = learner.histories
        self.asking, self.flow, self.before = (
            self._known(asked)
            for asked in (trial.asked, trial.flow, sample_of_train(trial.log, learner.seed))
        )
        self.slice_starts, self.slice_of = _slices(trial)
        self._scores, self._mark = Scores(), object()
        self._cache: dict[str, tuple[object, AnyArray]] = {}
        self._stack(config)

    def of(self, learner: Composed) -> Judge:
        """Return the judge of the same questions when the learner has gone on."""
        judge = self._copy()
        judge.taste, judge.own_vectors = learner.taste(), learner.own_vectors()
        judge.vectors = judge.taste.vectors
        return judge

    def _copy(self) -> Judge:
        judge = copy.copy(self)
        judge._cache, judge._mark = {}, object()
        return judge

    def rest(self) -> None:
        """Let go of what can be worked out again: the scores of all questions are much where there are many products."""
        self._cache.clear()
        self._scores.let_go()

    def without(self, column: str) -> Judge:
        """Return the judge that knows nothing of a column, ``role:name``."""
        judge = self._copy()
        beside, tokens = self.beside, self.taste.tokens
        assert beside is not None
        assert tokens is not None
        low, high = beside.span(column)
        judge.asking, judge.flow, judge.before = (
            part.without(low, high) for part in (self.asking, self.flow, self.before)
        )
        judge.of_products = self.of_products.without(low, high)
        judge.vectors = effective(self.own_vectors, judge.of_products, tokens)
        return judge

    def _known(self, asked: TrialQuestions) -> Asking:
        return askings(asked.users, asked.times, asked.context, self.trial.past, self.beside)

    def value(self, config: Config) -> float:
        """Return the mean ndcg of the questions."""
        return float(self.each(config).mean())

    def each(self, config: Config) -> Doubles:
        """Return the ndcg of each question."""
        dense, biases = self._dense(config), self._biases(config)
        entries = self._entry_weights(config)
        weights, trial = self._part_weights(config), self.trial
        gains = np.zeros(len(trial.held.products))
        own = np.full(len(trial.own_rows), -np.inf, np.float32)

        def measure(low: int, high: int) -> None:
            gains_of_parts(
                low, high, dense, biases, self.slice_of, self.entry_offsets, self.entry_rows, self.entry_parts, entries,
                self.memory.offsets, self.memory.products, self.memory.weights, weights,
                trial.own_offsets, trial.own_rows, own, trial.held.offsets, trial.held.products, MEASURED_AT, gains,
            )  # fmt: skip

        self.pool.run(measure, len(trial.asked))
        return gains if trial.apart else ndcg_of_gains(gains, trial.held.offsets, MEASURED_AT)

    def _stack(self, config: Config) -> None:
        """Put all tables of the memory one below the other, and list what each question looks up in them."""
        trial, products, settings = self.trial, self.products, config.memory
        past = trial.past
        counts, ridge = memories(
            self._histories, products, settings, self.pool,
            counts=settings.count_weight != 0, ridge=settings.ridge_weight != 0,
        )  # fmt: skip
        self.tables = (counts, ridge)
        tables = [counts, ridge]
        timed = trial.log.times is not None and settings.directed_weight != 0
        learned = past_of(trial.log) or past
        tables.append(
            step_memory(learned, products, fade=settings.directed_fade, partners=settings.partners)
            if timed
            else Memory.empty(products)
        )
        self.spectral = None
        if settings.spectral_weight != 0:
            self.spectral = spectral_memory(self._histories, products, settings, self.pool)
        tables.append(self.spectral or Memory.empty(products))
        self.kinds = past.names[1:]
        for kind in range(1, len(past.names)):
            tables.append(own_events(products))
            tables.append(
                followers(
                    learned, products, kind=kind, fade=settings.directed_fade, partners=settings.partners
                )
            )
        self.memory = Memory.stacked(tables)
        held, seen = self.asking.held, self.asking.seen
        owners = owners_of(held.offsets)
        parts = [np.repeat(np.arange(OF_PURCHASES), len(owners))]
        shifts = np.repeat(np.arange(OF_PURCHASES) * products, len(owners))
        rows_ = [np.tile(held.products, OF_PURCHASES) + shifts]
        who = [np.tile(owners, OF_PURCHASES)]
        if seen is not None:
            kinds = OF_PURCHASES + 2 * seen.kinds.astype(np.int64)
            for shift in (0, 1):
                parts.append(kinds + shift)
                rows_.append((kinds + shift) * products + seen.products)
                who.append(owners_of(seen.offsets))
        together = np.concatenate(who)
        self._order = np.argsort(together, kind="stable")
        self.entry_offsets = offsets_of(np.bincount(together, minlength=len(self.asking)))
        self.entry_rows = np.concatenate(rows_)[self._order].astype(np.int64)
        self.entry_parts = np.concatenate(parts)[self._order].astype(np.int16)

    def _entry_weights(self, config: Config) -> Floats:
        _, memory = fadings(config)
        key = (memory, config.memory.damping, config.kinds.places, config.kinds.days)

        def make() -> Floats:
            weights = [np.tile(self.asking.weights(memory, config.memory.damping), OF_PURCHASES)]
            if self.asking.seen is not None:
                fading = Fading(config.kinds.places or 0.0, config.kinds.days or 0.0)
                weights += [self.asking.seen_weights(fading)] * 2
            return np.concatenate(weights)[self._order]

        return self._kept("entries", key, make)

    def _part_weights(self, config: Config) -> Doubles:
        memory, kinds = config.memory, config.kinds
        own, after = kinds.of("own"), kinds.of("after")
        names = ("count_weight", "ridge_weight", "directed_weight", "spectral_weight")
        weights = [getattr(memory, name) or 0.0 for name in names]
        for name in self.kinds:
            weights += [own.get(name, 0.0), after.get(name, 0.0)]
        return np.array(weights)

    def queries(self, asking: Asking, config: Config) -> Floats:
        """Return the query vectors of some who ask."""
        return asking.vectors(
            self.vectors,
            damping=config.taste.damping,
            taste=fadings(config)[0],
            kinds=kinds_of(config, self.kinds),
            tokens=self.taste.tokens,
            pool=self.pool,
        )

    def _dense(self, config: Config) -> Floats:
        queries = self._kept("queries", _taste_key(config), lambda: self.queries(self.asking, config))
        fold_in = (config.live.fold_in or 0.0) if self.trial.is_live else 0.0

        def fill(scores: Floats) -> None:
            for low, high, vectors in self._moving(config, fold_in) if fold_in else [(0, None, self.vectors)]:
                np.matmul(queries[low:high], vectors.T, out=scores[low:high])

        shape = len(queries), self.products
        return self._scores.of((self._mark, _taste_key(config), fold_in), shape, fill)

    def _moving(self, config: Config, scale: float) -> Iterator[tuple[int, int, Floats]]:
        """Yield the questions ``low … high - 1`` of each slice with the products' vectors as they have moved by then."""
        trial = self.trial
        fold, flow = self._fold(config, scale)
        sums = np.zeros((self.products, flow.shape[1]), np.float32)
        counts, done, vectors = np.zeros(self.products, np.float32), 0, self.vectors.copy()
        borders = np.searchsorted(self.slice_of, np.arange(len(self.slice_starts) + 1))
        for start, low, high in zip(self.slice_starts, borders, borders[1:], strict=False):
            bought = trial.flow_products[done:start]
            self._add_flow(bought, flow[done:start], sums, counts)
            done, moved = start, distinct(bought)
            offsets = fold.offsets(sums[moved], counts[moved], fold.buyers[moved])
            vectors[moved] = self.vectors[moved] + offsets
            if low < high:
                yield low, high, vectors

    def _fold(self, config: Config, scale: float) -> tuple[FoldIn, Floats]:
        """Return the fold-in, and what each purchase of the flow adds to the sum of its product."""
        trial, key = self.trial, _taste_key(config)
        buyers = np.bincount(trial.log.product_rows, minlength=self.products).astype(np.float64)
        before = self._kept("before", key, lambda: self.queries(self.before, config))
        after = self._kept("flow", key, lambda: self.queries(self.flow, config))
        fold = fold_in_of(before, self.vectors, buyers, scale)
        said = (after - fold.mean) @ fold.basis
        flow: Floats = said[trial.flow_of] - (self.vectors @ fold.pull)[trial.flow_products]
        return fold, flow

    def _add_flow(self, bought: Rows, flow: Floats, sums: Floats, counts: Floats) -> None:
        """Add what purchases say of their products to ``sums[P, D]`` and ``counts[P]``, one after another."""
        times = np.bincount(bought, minlength=self.products)
        rows, alike = np.argsort(bought, kind="stable").astype(np.int32), np.ones(len(bought), np.float32)
        offsets = offsets_of(times)
        self.pool.run(
            lambda low, high: compose_bags(low, high, offsets, rows, alike, flow, sums), self.products
        )
        counts += times.astype(np.float32)

    def _biases(self, config: Config) -> Floats:
        live = config.live
        key = (live.rate, live.half_life, live.kappa, live.dial, live.young, config.trend.weight)
        return self._kept("biases", key, lambda: self._bias_rows(config))

    def _bias_rows(self, config: Config) -> Floats:
        settings, trial = config.live, self.trial
        if not settings.rate:
            row = self.taste.bias.copy()
            if config.trend.weight:
                row += np.float32(config.trend.weight) * trend_of(trial.log)
            rows: Floats = np.repeat(row[None, :], len(self.slice_starts), axis=0)
        else:
            half_life, young = settings.half_life or 30.0, settings.young or 0.0
            live = Live(half_life, settings.rate, settings.kappa, 0.0, young=young)
            rows = bias_of_counts(live, self._kept("counts", (half_life, young), lambda: self._counts(live)))
        if settings.dial:
            rows[:, ~trial.sold] += np.float32(settings.dial)
        return rows

    def _counts(self, live: Live) -> Doubles:
        """Return `decayed_counts` at the beginning of each slice, ``float64[S, P]``, of what had been bought by then."""
        trial, moments = self.trial, _moments(self.trial, self.slice_starts)
        assert trial.log.times is not None
        products = np.concatenate([trial.log.product_rows, trial.flow_products])
        times = np.concatenate([trial.log.times, trial.flow_times])
        known = len(trial.log.times) + self.slice_starts
        return counts_at_moments(live, products, times, known, moments, self.products)

    def _kept(self, name: str, key: object, make: Callable[[], AnyArray]) -> AnyArray:
        """Return what was made last under a name if it was made from the same settings, else make it."""
        if name not in self._cache or self._cache[name][0] != key:
            self._cache[name] = (key, make())
        return self._cache[name][1]


def _taste_key(config: Config) -> tuple[object, ...]:
    """Return the settings that queries are made by."""
    return fadings(config)[0], config.kinds.taste, config.kinds.places, config.kinds.days


def ndcg_of_gains(gains: Doubles, offsets: Offsets, k: int) -> Doubles:
    """Return the ndcg at k of each list of held-out products from what each gains by its rank.

    >>> ndcg_of_gains(np.array([1.0, 0.0, 0.5]), np.array([0, 2, 3]), 10).round(3).tolist()
    [0.613, 0.5]
    """
    lengths = np.diff(offsets)
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))
    sums = np.bincount(owners_of(offsets), gains, minlength=len(lengths))
    ndcg: Doubles = np.where(lengths > 0, sums / ideal[np.clip(lengths, 1, k) - 1], 0.0)
    return ndcg


def _slices(trial: Trial) -> tuple[AnyArray, Rows]:
    """Return how many purchases of the flow are known in each slice, and the slice of each question."""
    if not trial.is_live:
        return np.zeros(1, np.int64), np.zeros(len(trial.asked), np.int32)
    times = trial.flow_times
    first = np.flatnonzero(np.concatenate(([True], times[1:] != times[:-1])))
    wanted = np.linspace(0, len(times), SLICES, endpoint=False)
    starts = np.unique(first[np.searchsorted(first, wanted, side="right") - 1])
    of = np.searchsorted(times[starts], trial.asked.times, side="right") - 1
    return starts, of.astype(np.int32)


def _moments(trial: Trial, starts: AnyArray) -> AnyArray:
    if trial.is_live:
        return trial.flow_times[starts]
    times = trial.log.times
    return np.array([0 if times is None else int(times.max())])
