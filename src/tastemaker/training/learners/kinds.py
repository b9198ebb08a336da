"""Which settings start which learner: a new kind of learner is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tastemaker.data.purchases import Purchases
from tastemaker.model.config import Config
from tastemaker.training.cosine.learner import Cosine
from tastemaker.training.learners.composed import Composed
from tastemaker.training.learners.free_users import FreeUsers
from tastemaker.training.learners.learner import Learner
from tastemaker.training.learners.projected import Projected

__all__ = ["LEARNERS", "Kind", "kind_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a learner begins, and what it needs."""

    start: Callable[[Purchases, Config, int], Learner]
    """``start(log, config, seed)``"""
    bytes_per_purchase: int = 0
    """Beside the log and its histories."""


LEARNERS: Mapping[str, Kind] = {
    "free": Kind(FreeUsers.start),
    "composed": Kind(Composed.start, bytes_per_purchase=24),  # how often each user bought each product
    "spectral": Kind(Projected.start, bytes_per_purchase=24),
    "cosine": Kind(Cosine.start, bytes_per_purchase=24),
}


def kind_of(config: Config) -> Kind:
    """Return the kind of learner of some settings."""
    return LEARNERS[
        config.taste.query if config.taste.objective in ("softmax", None) else config.taste.objective
    ]
