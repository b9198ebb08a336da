"""`Learner`: what training drives, whatever it learns; and `Taste`, what every learner can be ranked by at any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.progress import Watcher
from tastemaker.types import Floats

__all__ = ["Learner", "Step", "Taste"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a learner measured while it learned from some purchases."""

    purchases: int
    loss: float
    """sum over these purchases"""
    hits: float
    """sum over these purchases"""


@dataclass(frozen=True, slots=True)
class Taste:
    """The vectors and bias that a learner has at some moment, ready to rank with."""

    vectors: Floats
    """``float32[P, D]``, how a product is found"""
    bias: Floats
    """``float32[P]``"""
    tokens: Floats | None = None
    """``float32[T, D]``, what attributes and contexts add to a query, where the log has some"""
    baskets: Floats | None = None
    """``float32[P, D]``, what a product adds to a basket; ``None`` where that is its vector, too"""

    @property
    def heard(self) -> Floats:
        """Return what a product adds to a basket, the very array ``vectors`` where both are the same."""
        return self.vectors if self.baskets is None else self.baskets


class Learner(Protocol):
    """What training drives. `kinds.LEARNERS` says which settings start which learner."""

    @property
    def log(self) -> Purchases:
        """Return the log that is learned from."""

    @property
    def config(self) -> Config:
        """Return the settings, with nothing left to choose."""

    @property
    def purchases(self) -> int:
        """Return how many purchases an epoch learns from."""

    def learn(self, epoch: int, at_once: int, pool: ThreadPool) -> Iterator[Step]:
        """Learn from every purchase, about ``at_once`` of them between two yields."""

    def measure(self, held_out: Purchases, epoch: int, pool: ThreadPool) -> tuple[float, float]:
        """Return the mean loss and accuracy on held-out purchases."""

    def finite(self) -> bool:
        """Return whether every number learned is finite."""

    def state(self) -> Mapping[str, Floats]:
        """Return everything that learning changes, by name."""

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Set everything that learning changes to what `state` gave."""

    def warm_from(self, old: TasteModel, *, watch: Watcher, pool: ThreadPool) -> None:
        """Begin with what an older model of the same kind knows of these users and products."""

    def taste(self) -> Taste:
        """Return the vectors and bias as they stand, to look at while settings are chosen."""

    def finish(self, record: TrainingRecord, pool: ThreadPool) -> TasteModel:
        """Return the model: what was learned, and what the settings add to it."""
