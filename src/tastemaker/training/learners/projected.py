"""The spectral objective: vectors are computed, not learned; they are the strongest directions of the purchases."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.memory import Memory
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.learners.composed import Composed
from tastemaker.training.learners.learner import Step, Taste
from tastemaker.training.memory.remember import remember
from tastemaker.training.memory.spectral import (
    Spectrum,
    spectral_memory,
    spectrum_of,
    tied_vectors,
    tilt_of,
)
from tastemaker.training.progress import Watcher
from tastemaker.types import Floats

__all__ = ["Projected"]

MEASURED = 50_000
"""The loss is measured on at most so many purchases; all of them would cost as much as the vectors."""


@dataclass(frozen=True, slots=True)
class Projected:
    """Users composed of what they bought, as in `Composed`, by the vectors of `tied_vectors`; the bias is that of the buyers."""

    composed: Composed
    """One member, whose vectors the pass sets"""
    found: list[tuple[Spectrum, Floats]] = field(default_factory=list)
    """The spectrum and the vectors in its unit, once the pass has found them"""

    @staticmethod
    def start(log: Purchases, config: Config, seed: int) -> Projected:
        """Raise `SettingProblem` where more than pairs is to be learned from, which directions of purchases cannot say."""
        composed = Composed.start(log, config.changed(members=1), seed)
        if composed.beside is not None:
            raise SettingProblem(
                f"taste.objective is {config.taste.objective}; a log with attributes or contexts needs softmax: set that, "
                "or leave them out (--context none --user-features none --product-features none)."
            )
        return Projected(dataclasses.replace(composed, config=config))

    @property
    def log(self) -> Purchases:
        """Return the log that vectors are computed from."""
        return self.composed.log

    @property
    def config(self) -> Config:
        """Return the settings, with nothing left to choose."""
        return self.composed.config

    @property
    def purchases(self) -> int:
        """Return how many pairs of a user and a product there are."""
        return len(self.composed.histories.products)

    def learn(self, epoch: int, at_once: int, pool: ThreadPool) -> Iterator[Step]:
        """Set the vectors, the same in every epoch, and measure them on purchases of the log itself, evenly spread."""
        taste = self.config.taste
        vectors = self.within(pool)[1] * np.float32((self.config.memory.spectral_weight or 0.0) ** 0.5)
        self.composed.members[0].vectors[:, : taste.dimensions] = vectors
        some = self.log.take(np.arange(0, len(self.log), -(-len(self.log) // MEASURED)))
        loss, hits = self.measure(some, epoch, pool)
        yield Step(self.purchases, loss * self.purchases, hits * self.purchases)

    def within(self, pool: ThreadPool) -> tuple[Spectrum, Floats]:
        """Return the spectrum and the vectors ``float32[P, D]`` in its unit, which its weight does not change; found once."""
        if not self.found:
            histories, settings = self.composed.histories, self.config.memory
            spectrum = spectrum_of(histories, len(self.log.products), settings, pool)
            vectors = tied_vectors(histories, spectrum, self.config.taste.dimensions, settings, pool)
            self.found.append((spectrum, vectors))
        return self.found[0]

    def table(self, pool: ThreadPool) -> Memory:
        """Return what the spectral part says beyond the vectors, unweighted."""
        spectrum, vectors = self.within(pool)
        histories, settings = self.composed.histories, self.config.memory
        products = len(self.log.products)
        return spectral_memory(histories, products, settings, pool, spectrum=spectrum, vectors=vectors)

    def measure(self, held_out: Purchases, epoch: int, pool: ThreadPool) -> tuple[float, float]:
        """Return the mean loss and accuracy on held-out purchases among uniformly drawn candidates."""
        return self.composed.measure(held_out, epoch, pool)

    def finite(self) -> bool:
        """Return whether every number is finite."""
        return self.composed.finite()

    def state(self) -> Mapping[str, Floats]:
        """Return the vectors and the bias, by name."""
        return self.composed.state()

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Set the vectors and the bias to what `state` gave."""
        self.composed.restore(state)

    def warm_from(self, old: TasteModel, *, watch: Watcher, pool: ThreadPool) -> None:
        """Take nothing from an older model: nothing is learned, and the longer log has directions of its own."""

    def taste(self) -> Taste:
        """Return the vectors and the bias as they stand; with no table beside them, tilted as the spectral part is."""
        return self._tilted(self.composed.taste())

    def weighed(self, weight: float, pool: ThreadPool) -> Taste:
        """Return the taste that a weight gives."""
        vectors = self.within(pool)[1] * np.float32(weight**0.5)
        return self._tilted(Taste(vectors, self.composed.members[0].bias))

    def _tilted(self, taste: Taste) -> Taste:
        settings = self.config.memory
        if settings.spectral_partners:
            return taste
        tilt = tilt_of(self.composed.histories, len(self.log.products), settings)
        return Taste(taste.vectors * tilt, taste.bias, baskets=taste.vectors / tilt)

    def finish(self, record: TrainingRecord, pool: ThreadPool) -> TasteModel:
        """Return the model; its memory holds what the spectral part says beyond the vectors, if anything."""
        products, settings = self.log.products, self.config.memory
        if not settings.spectral_partners:
            settings = dataclasses.replace(settings, spectral_weight=0.0)
        memory = remember(self.composed.histories, products, settings, pool, spectral=self.table)
        return self.composed.with_memory(memory, record, pool, self.taste())
