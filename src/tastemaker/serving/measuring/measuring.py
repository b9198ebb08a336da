"""`Measuring`: what a server has to measure its lists with."""

from __future__ import annotations

from dataclasses import dataclass

from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.measuring.in_force import ExperimentsInForce
from tastemaker.serving.measuring.outcome_store import Outcomes
from tastemaker.serving.models.registry import Registry

__all__ = ["Measuring"]


@dataclass(frozen=True, slots=True)
class Measuring:
    """The running experiments, and the outcomes of lists; ``None`` where no file of events is named."""

    experiments: ExperimentsInForce
    outcomes: Outcomes | None

    @staticmethod
    def open(registry: Registry, events: Events | None) -> Measuring:
        """Read the experiments, and open the outcomes in the file of the events."""
        outcomes = None if events is None or events.follows else Outcomes(events)
        return Measuring(ExperimentsInForce(registry), outcomes)

    def close(self) -> None:
        """Close the outcomes."""
        if self.outcomes is not None:
            self.outcomes.close()
