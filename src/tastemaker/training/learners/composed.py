"""The default objective: users composed of what they bought, tied vectors, shared negatives, Adagrad by row."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tastemaker.data.past import past_of
from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.repeats import times_bought
from tastemaker.data.tokens.bags import Bags
from tastemaker.errors import SettingProblem
from tastemaker.kernels.learning.composed import ALL, IN_BATCH, SHARED
from tastemaker.kernels.learning.sampling import stream_key
from tastemaker.kernels.learning.tokens import learn_token_batches
from tastemaker.kernels.ranking.baskets import compose_baskets
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.sums import effective, token_sums
from tastemaker.model.config import Config
from tastemaker.model.memory import Memory
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.learners.beside import Beside
from tastemaker.training.learners.draws import Draws, draws_by_popularity
from tastemaker.training.learners.extras import (
    bias_at_end,
    kinds_of_past,
    known_values,
    live_of,
    order_of,
    tokens_of,
)
from tastemaker.training.learners.learner import Step, Taste
from tastemaker.training.learners.pace import Pace
from tastemaker.training.learners.sampled import sampled_loss
from tastemaker.training.learners.tables import trimmed, zero_table
from tastemaker.training.loop import EpochRun, run_epochs
from tastemaker.training.memory.remember import remember
from tastemaker.training.memory.repeats import repeat_bias
from tastemaker.training.memory.spectral import Spectrum, spectrum_of
from tastemaker.training.memory.trend import trend_of
from tastemaker.training.progress import Watcher
from tastemaker.training.sharded.crew import Crew, learn_by_crew
from tastemaker.training.sharded.lesson import LONGEST, Course, Joint, Lesson, Tables, Terms
from tastemaker.training.sharded.rounds import learn_in_rounds
from tastemaker.training.sharded.shards import shard_of
from tastemaker.training.warm_start import (
    KEPT_SQUARES,
    STANDSTILL,
    first_epoch,
    kept_length,
    known_rows,
    known_tokens,
    own_vectors_of,
)
from tastemaker.types import Doubles, Floats, Offsets, Rows

__all__ = ["Composed", "Member", "stacked", "with_directions"]

VALID_STREAM = 1
SAMPLING = {"shared": SHARED, "batch": IN_BATCH, "all": ALL}


@dataclass(frozen=True, slots=True)
class Member:
    """One taste: tables that change in place."""

    number: int
    dimensions: int
    vectors: Floats
    """``float32[P, D']``, padded"""
    bias: Floats
    """``float32[P]``"""
    squares: tuple[Floats, Floats, Floats]
    """``float32[P]`` each: sums of squared gradients of the vectors as targets and in baskets, and of the bias"""

    @staticmethod
    def start(number: int, dimensions: int, scale: float, buyers: Doubles, seed: int) -> Member:
        """Draw the first vectors, and start the bias at the log of the buyers."""
        rng = np.random.default_rng([seed, number, 1])
        vectors = zero_table(len(buyers), dimensions)
        vectors[:, :dimensions] = rng.standard_normal(
            (len(buyers), dimensions), dtype=np.float32
        ) * np.float32(scale)
        bias = np.log(buyers + 0.5) - np.log(np.mean(buyers + 0.5))
        zeros = np.zeros((3, len(buyers)), np.float32)
        return Member(number, dimensions, vectors, bias.astype(np.float32), (zeros[0], zeros[1], zeros[2]))


@dataclass(frozen=True, slots=True)
class Composed:
    """The members being trained and what they learn from. Members are learned side by side, each by one thread or by several."""

    log: Purchases
    histories: Histories
    config: Config
    seed: int
    members: tuple[Member, ...]
    draws: Draws
    sampling: int
    """one of kernels.learning.composed's SHARED, IN_BATCH, ALL"""
    negatives: int
    """S, or P when the whole catalogue competes"""
    corrections: Floats
    """``float32[P]``, -log(S · probability); 0 when the whole catalogue competes"""
    decay: Floats
    """``float32[P]``"""
    beside: Beside | None = None
    """Attributes and contexts, where the log has some that are learned from"""
    shards: Rows | None = None
    """``int32[U]``, the shard of each user; ``None`` where all learn in one piece"""
    pace: Pace = field(default_factory=Pace)
    """How many threads learn a member"""

    @staticmethod
    def start(log: Purchases, config: Config, seed: int) -> Composed:
        """Draw the first vectors of all members."""
        histories, products = log.histories(), len(log.products)
        buyers = np.bincount(histories.products, minlength=products).astype(np.float64)
        sampling, negatives = SAMPLING[config.taste.sampling], config.taste.negatives
        if sampling == SHARED and negatives >= products:
            sampling = ALL  # drawing as many as there are would only add noise
        if sampling == ALL:
            negatives = products
        draws = draws_by_popularity(buyers, 1.0 if sampling == IN_BATCH else config.taste.popularity_power)
        corrections = -np.log(negatives * draws.probabilities) if sampling != ALL else np.zeros(products)
        count = min(config.taste.members, config.taste.dimensions)
        shares = [
            config.taste.dimensions * (m + 1) // count - config.taste.dimensions * m // count
            for m in range(count)
        ]
        return Composed(
            log,
            histories,
            config,
            seed,
            tuple(Member.start(m, d, config.taste.initial_scale, buyers, seed) for m, d in enumerate(shares)),
            draws,
            sampling,
            negatives,
            corrections.astype(np.float32),
            ((config.taste.decay or 0.0) + config.taste.rare_decay / np.maximum(buyers, 1)).astype(
                np.float32
            ),
            Beside.start(log, histories, config, shares, buyers, seed),
            None if config.taste.shards == 1 else shard_of(log.users.ids, config.taste.shards),
        )

    def state(self) -> dict[str, Floats]:
        """Return everything that learning changes, by name."""
        arrays: dict[str, Floats] = {}
        for m in self.members:
            arrays[f"vectors_{m.number}"] = trimmed(m.vectors, m.dimensions)
            arrays[f"bias_{m.number}"] = m.bias.copy()
            arrays[f"squares_{m.number}"] = np.stack(m.squares)
            if self.beside is not None:
                table = self.beside.tables[m.number]
                arrays[f"tokens_{m.number}"] = trimmed(table.vectors, m.dimensions)
                arrays[f"token_squares_{m.number}"] = table.squares.copy()
        return arrays

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Set everything that learning changes to what `state` gave."""
        for m in self.members:
            m.vectors[:, : m.dimensions] = state[f"vectors_{m.number}"]
            m.bias[:] = state[f"bias_{m.number}"]
            for squares, kept in zip(m.squares, state[f"squares_{m.number}"], strict=True):
                squares[:] = kept
            if self.beside is not None:
                table = self.beside.tables[m.number]
                table.vectors[:, : m.dimensions] = state[f"tokens_{m.number}"]
                table.squares[:] = state[f"token_squares_{m.number}"]

    @property
    def purchases(self) -> int:
        """Return how many purchases an epoch learns from, repeats not counted."""
        return self.lesson().purchases

    def finite(self) -> bool:
        """Return whether every number of every member is finite."""
        tables = () if self.beside is None else self.beside.tables
        return all(np.isfinite(m.vectors).all() and np.isfinite(m.bias).all() for m in self.members) and all(
            np.isfinite(table.vectors).all() for table in tables
        )

    def lesson(self) -> Lesson:
        """Return what the vectors are learned from, apart from what learning changes."""
        taste = self.config.taste
        horizon = taste.horizon or taste.epochs or 1
        terms = Terms(
            self.seed, taste.shards, taste.batch, self.sampling, self.negatives, float(taste.damping),
            float(taste.learning_rate), horizon,
        )  # fmt: skip
        draws = self.draws
        return Lesson(
            terms, self.histories.offsets, self.histories.products, self.shards, draws.chances, draws.aliases,
            self.corrections, self.decay,
        )  # fmt: skip

    def learn(self, epoch: int, at_once: int, pool: ThreadPool) -> Iterator[Step]:
        """Learn from all users in random order, each member in an order and with draws of its own.

        On shards in rounds; by the workers of a `Crew` where they can.
        """
        lesson = self.lesson()
        if self.beside is not None and self.shards is not None:
            raise SettingProblem(
                f"taste.shards is {self.config.taste.shards}; a log with attributes or contexts is learned from in one piece: "
                "leave it at 1, or leave them out (--context none --user-features none --product-features none)."
            )
        if isinstance(pool, Crew) and self.beside is None:
            yield from learn_by_crew(pool, lesson, self._tables(), epoch, at_once)
        elif self.shards is not None:
            yield from learn_in_rounds(self._tables(), lesson, epoch, pool)
        else:
            yield from self._learn_in_one_piece(lesson, epoch, at_once, pool)

    def _tables(self) -> list[Tables]:
        return [Tables(member.vectors, member.bias, member.squares) for member in self.members]

    def _learn_in_one_piece(
        self, lesson: Lesson, epoch: int, at_once: int, pool: ThreadPool
    ) -> Iterator[Step]:
        courses = [lesson.course(epoch, member.number) for member in self.members]
        calls = lesson.calls(courses, at_once)
        for call in range(calls):
            sums = np.zeros((len(self.members), 3))
            each = self.pace.threads(pool.running // len(self.members)) if self.beside is None else 1
            parts = [course.part(call, calls) for course in courses]
            joints = self._joints(lesson, courses, parts, each)

            def learn(low: int, high: int) -> None:
                for number in range(low, high):
                    m, thread = divmod(number, each)  # noqa: B023
                    work = lesson, m, courses[m], parts[m], epoch, sums[m]  # noqa: B023
                    self._learn_part(*work, seat=(thread, joints[m]))  # noqa: B023

            began = time.perf_counter()
            pool.run(learn, len(self.members) * each)
            self.pace.tell(each, time.perf_counter() - began)
            yield lesson.step(call, calls, sums)

    def _joints(
        self, lesson: Lesson, courses: list[Course], parts: list[tuple[int, int]], threads: int
    ) -> list[Joint | None]:
        """Return what the threads of each member share, ``None`` where members are learned otherwise."""
        if self.beside is not None:
            return [None] * len(courses)
        given = zip(self._tables(), courses, parts, strict=True)
        return [lesson.joint(tables, course, part, threads) for tables, course, part in given]

    def measure(self, held_out: Purchases, epoch: int, pool: ThreadPool) -> tuple[float, float]:
        """Return the mean loss and accuracy on held-out purchases among uniformly drawn candidates."""
        taste = self.taste()
        vectors, bias = taste.vectors, taste.bias
        queries = np.empty((len(self.histories.offsets) - 1, vectors.shape[1]), np.float32)
        offsets, products, damping = (
            self.histories.offsets,
            self.histories.products,
            self.config.taste.damping,
        )
        pool.run(
            lambda low, high: compose_baskets(low, high, offsets, products, vectors, damping, queries),
            len(queries),
        )
        if self.beside is not None and taste.tokens is not None:
            queries += token_sums(self.beside.of_users, taste.tokens)
        key = np.uint64(stream_key(self.seed, epoch, VALID_STREAM))
        return sampled_loss(queries, vectors, bias, held_out, self.config.taste.negatives, key, pool)

    def warm_from(self, old: TasteModel, *, watch: Watcher, pool: ThreadPool) -> None:
        """Give products and tokens that the older model knows the vectors that it has for them, and all their Adagrad squares.

        Where the older training stopped early, at E of H epochs, because it began to overfit, going on from the
        same vectors would continue that. The vectors are therefore shrunk to (E / H)² of their length, which keeps what they say
        and leaves room to learn (after J. ASH, R. ADAMS 2020, "On Warm-Starting Neural Network Training"; the power is ours).

        A model keeps no squares. They are gathered in one epoch that moves nothing, and those of known products are multiplied by
        a quarter of the epochs that a warm start leaves out (and by the same factor as the vectors): known products then make
        smaller steps than new ones. The bias starts at the log of the buyers, as in any training.
        """
        here, there = known_rows(self.log.products, old.products)
        kept = kept_length(self.config)
        scale = np.float32(kept * len(self.members) ** 0.5)  # the root undoes what `stacked` does
        column, own = 0, own_vectors_of(old, there)
        known = (
            None
            if self.beside is None or old.tokens is None
            else known_tokens(self.beside.columns, old.tokens)
        )
        for member in self.members:
            part = slice(column, column + member.dimensions)
            member.vectors[here, : member.dimensions] = own[:, part] * scale
            if self.beside is not None and old.tokens is not None and known is not None:
                table = self.beside.tables[member.number].vectors
                table[known[0], : member.dimensions] = old.tokens.vectors[known[1], part] * scale
            column += member.dimensions
        still = dataclasses.replace(self, config=self.config.changed({"learning_rate": STANDSTILL}))
        run_epochs(still, epochs=1, run=EpochRun(pool, watch, stage="warming up"))
        for member in self.members:
            for squares in member.squares[:2]:
                squares[here] *= np.float32(kept * max(1.0, KEPT_SQUARES * (first_epoch(self.config) - 1)))

    def taste(self) -> Taste:
        """Return the members as one table of vectors and one bias."""
        taste, beside = stacked(self.members), self.beside
        if beside is None:
            return taste
        parts = [
            trimmed(table.vectors, m.dimensions) for table, m in zip(beside.tables, self.members, strict=True)
        ]
        tokens: Floats = np.concatenate(parts, axis=1) * np.float32(len(self.members) ** -0.5)
        return Taste(effective(taste.vectors, beside.of_products, tokens), taste.bias, tokens)

    def own_vectors(self) -> Floats:
        """Return the products' own vectors, without their attributes', ``float32[P, D]``."""
        return stacked(self.members).vectors

    def finish(self, record: TrainingRecord, pool: ThreadPool) -> TasteModel:
        """Return the model: the taste, the trend in its bias, the memory, and what repeats weigh."""
        past = past_of(self.log)
        memory = remember(self.histories, self.log.products, self.config.memory, pool, past=past)
        return self.with_memory(memory, record, pool, self.whole_taste(pool))

    def whole_taste(self, pool: ThreadPool) -> Taste:
        """Return the taste as the model has it: with the spectral part behind it, where the memory has no table of that."""
        settings = self.config.memory
        if not settings.spectral_weight or settings.spectral_partners or self.beside is not None:
            return self.taste()
        spectrum = spectrum_of(self.histories, len(self.log.products), settings, pool)
        return with_directions(self.taste(), spectrum, settings.spectral_weight)

    def with_memory(
        self, memory: Memory | None, record: TrainingRecord, pool: ThreadPool, taste: Taste | None = None
    ) -> TasteModel:
        """Return the model that remembers this, with a taste from elsewhere if one is given."""
        log, config, taste = self.log, self.config, taste or self.taste()
        live = live_of(log, config, taste, self.beside, self.seed, pool)
        bias = taste.bias
        if live is not None:
            bias = bias_at_end(live, log)
        elif config.trend.weight:
            bias = bias + np.float32(config.trend.weight) * trend_of(log)
        tail = config.popularity.tail or 0.0
        if tail:
            buyers = np.bincount(self.histories.products, minlength=len(log.products))
            bias = (bias - tail * np.log1p(buyers)).astype(np.float32)
            live = None if live is None else dataclasses.replace(live, tail=tail)
        past = past_of(log)
        order = order_of(config, past)
        if past is not None and (order is None or not (order.taste.strength or order.memory.strength)):
            past = dataclasses.replace(past, strengths=None)  # which nothing would read
        return TasteModel(
            users=log.users,
            products=log.products,
            histories=self.histories,
            product_vectors=taste.vectors,
            product_bias=bias,
            user_vectors=None,
            basket_vectors=taste.heard,
            memory=memory,
            record=record,
            past=past,
            damping=config.taste.damping,
            memory_damping=config.memory.damping,
            history_times=times_bought(log),
            repeat_weight=config.repeats.weight or 0.0,
            repeat_bias=repeat_bias(log, config.repeats),
            tokens=tokens_of(self.beside, taste),
            order=order,
            kinds=None if past is None else kinds_of_past(past, len(log.products), config),
            live=live,
            product_values=known_values(log),
        )

    def _learn_part(
        self, lesson: Lesson, m: int, course: Course, part: tuple[int, int], epoch: int, sums: Doubles, *,
        seat: tuple[int, Joint | None] = (0, None),
    ) -> None:  # fmt: skip
        beside, member = self.beside, self.members[m]
        if beside is None:
            tables = Tables(member.vectors, member.bias, member.squares)
            lesson.learn(tables, course, part, epoch, sums, thread=seat[0], joint=seat[1])
            return
        table, terms = beside.tables[m], lesson.terms
        learn_token_batches(
            part[0], part[1], course.order, course.starts, lesson.offsets, lesson.products, LONGEST,
            _flat(beside.of_pairs), _flat(beside.of_products), member.vectors, table.vectors, member.bias,
            member.squares, table.squares, self.decay, beside.decay, terms.sampling, terms.negatives,
            lesson.chances, lesson.aliases, lesson.corrections, terms.damping, terms.rate(epoch), course.key, sums,
        )  # fmt: skip


def _flat(bags: Bags) -> tuple[Offsets, Rows, Floats]:
    return bags.offsets, bags.tokens, bags.weights


def stacked(members: tuple[Member, ...]) -> Taste:
    """Return one table ``float32[P, D]`` and one bias whose scores are the mean of the members' scores.

    Side by side, the members' scores add up; each is shrunk by √members on both sides of the product.
    """
    vectors: Floats = np.concatenate([trimmed(m.vectors, m.dimensions) for m in members], axis=1)
    bias: Doubles = np.mean(np.stack([m.bias for m in members]), axis=0, dtype=np.float64)
    vectors *= np.float32(len(members) ** -0.5)
    return Taste(vectors, bias.astype(np.float32))


def with_directions(taste: Taste, spectrum: Spectrum, weight: float) -> Taste:
    """Return a taste with the whole spectral part, at this weight, behind its own dimensions: no table then says any of it."""
    products, rank = spectrum.outside.shape
    root, even = weight**0.5, (products / rank**0.5) ** 0.5  # both sides are about as long
    vectors = np.hstack((taste.vectors, spectrum.outside * np.float32(root * even)))
    baskets = np.hstack((taste.heard, spectrum.inside * np.float32(root / even)))
    return Taste(vectors, taste.bias, baskets=baskets)
