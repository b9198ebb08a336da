"""What the API keeps beside the models: rules in force, live purchases, and what is made when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tastemaker.serving.answering.active_rules import RulesInForce
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.answering.product_search import ProductIndex
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry

__all__ = ["ApiState"]

T = TypeVar("T")


@dataclass(slots=True)
class ApiState:
    """Everything that outlives a request of the API."""

    rules: RulesInForce
    events: Events | None
    _made: WeakKeyDictionary[LoadedModel, dict[str, Any]] = field(default_factory=WeakKeyDictionary)
    _making: threading.RLock = field(default_factory=threading.RLock)

    @staticmethod
    def open(settings: Settings, registry: Registry) -> ApiState:
        """Read the rules and open the events; raise `EventsProblem` when their file cannot be used."""
        events = None if settings.events is None else Events(settings.events)
        return ApiState(RulesInForce(registry), events)

    def close(self) -> None:
        """Close the events."""
        if self.events is not None:
            self.events.close()

    def index(self, loaded: LoadedModel) -> ProductIndex:
        """Return what products are searched with, made when first asked for."""
        return self._once(loaded, "index", lambda: ProductIndex(loaded.model, loaded.catalogue))

    def _once(self, loaded: LoadedModel, name: str, make: Callable[[], T]) -> T:
        with self._making:
            made = self._made.setdefault(loaded, {})
            if name not in made:
                made[name] = make()
            found: T = made[name]
            return found
