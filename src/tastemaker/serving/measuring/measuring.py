"""`Measuring`: what a server has to measure its lists with."""

from __future__ import annotations

from dataclasses import dataclass

from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.measuring.exploring import Exploring
from tastemaker.serving.measuring.in_force import ExperimentsInForce
from tastemaker.serving.measuring.outcome_store import Outcomes
from tastemaker.serving.measuring.served_lists import ServedLists
from tastemaker.serving.models.registry import Registry

__all__ = ["Measuring"]


@dataclass(frozen=True, slots=True)
class Measuring:
    """The running experiments, the outcomes of lists (``None`` where no file of events is named), and what explores."""

    experiments: ExperimentsInForce
    outcomes: Outcomes | None
    exploring: Exploring | None = None
    """``None`` where lists do not explore"""

    @staticmethod
    def open(registry: Registry, events: Events | None, *, explore: float, metrics: Metrics) -> Measuring:
        """Read the experiments, and open outcomes and, where lists explore, their log in the file of the events."""
        outcomes = None if events is None or events.follows else Outcomes(events)
        exploring = None
        if explore and events is not None:
            metrics.with_exploring()
            exploring = Exploring(explore, ServedLists(events, metrics.not_logged))
        return Measuring(ExperimentsInForce(registry), outcomes, exploring)

    def close(self) -> None:
        """Write the lists that wait to be logged, and close the file."""
        if self.exploring is not None:
            self.exploring.log.close()
        if self.outcomes is not None:
            self.outcomes.close()
