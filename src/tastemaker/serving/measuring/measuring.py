"""`Measuring`: what a server has to measure its lists with."""

from __future__ import annotations

from dataclasses import dataclass, field

from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.measuring.exploring import Exploring
from tastemaker.serving.measuring.figures import Figures
from tastemaker.serving.measuring.in_force import ExperimentsInForce
from tastemaker.serving.measuring.outcome_store import KeptOutcomes
from tastemaker.serving.measuring.served_lists import KeptLists, ServedLists

__all__ = ["Measuring", "exploring_of"]


@dataclass(frozen=True, slots=True)
class Measuring:
    """The running experiments, the outcomes of lists (``None`` where no file of events is named), and what explores."""

    experiments: ExperimentsInForce
    outcomes: KeptOutcomes | None
    exploring: Exploring | None = None
    """``None`` where lists do not explore"""
    figures: Figures = field(default_factory=Figures)

    def close(self) -> None:
        """Write the lists that wait to be logged, and close what is open."""
        if self.exploring is not None:
            self.exploring.log.close()
        if self.outcomes is not None:
            self.outcomes.close()


def exploring_of(rate: float, kept: KeptLists | None, metrics: Metrics) -> Exploring | None:
    """Return what explores at this rate, its lists logged in ``kept``; ``None`` where lists do not explore."""
    if kept is None:
        return None
    metrics.with_exploring()
    return Exploring(rate, ServedLists(kept, metrics.not_logged))
