"""What the API keeps beside the models: rules in force, live purchases, and what is made when first asked for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tastemaker.errors import EventsProblem
from tastemaker.ranking.live.standing import Standing
from tastemaker.serving.answering.active_rules import RulesInForce
from tastemaker.serving.answering.browse import Shelf
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.answering.hidden import Hidden
from tastemaker.serving.answering.live_shop import LiveShop, standing_as
from tastemaker.serving.answering.product_search import ProductIndex
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry

__all__ = ["ApiState"]

T = TypeVar("T")

log = logging.getLogger("tastemaker.live")


@dataclass(slots=True)
class ApiState:
    """Everything that outlives a request of the API."""

    rules: RulesInForce
    events: Events | None
    hidden: Hidden
    _made: WeakKeyDictionary[LoadedModel, dict[str, Any]] = field(default_factory=WeakKeyDictionary)
    _making: threading.RLock = field(default_factory=threading.RLock)

    @staticmethod
    def open(settings: Settings, registry: Registry, events: Events | None) -> ApiState:
        """Read the rules; the events are closed with the state."""
        return ApiState(RulesInForce(registry, without=settings.without_rules), events, Hidden(registry))

    def close(self) -> None:
        """Close the events."""
        if self.events is not None:
            self.events.close()

    def index(self, loaded: LoadedModel) -> ProductIndex:
        """Return what products are searched with, made when first asked for."""
        return self._once(loaded, "index", lambda: ProductIndex(loaded.model, loaded.catalogue))

    def shelf(self, loaded: LoadedModel) -> Shelf:
        """Return all products in all their orders, made when first asked for."""
        return self._once(loaded, "shelf", lambda: Shelf(loaded, self.index(loaded)))

    def shop(self, loaded: LoadedModel) -> LiveShop | None:
        """Return the version as live events move it; ``None`` where there are none, or nothing in it moves."""
        events = self.events
        if events is None or loaded.model.live is None:
            return None
        return self._once(loaded, "shop", lambda: LiveShop(loaded, events))

    async def standing(self, loaded: LoadedModel, at: int | None) -> LoadedModel:
        """Return the version as it ranks now, or at a moment in microseconds: with the rates and vectors that events have moved."""
        shop = self.shop(loaded)
        if shop is None:
            return (
                loaded
                if at is None or loaded.model.live is None
                else await asyncio.to_thread(self._alone, loaded, at)
            )
        try:
            if shop.wants_a_look():
                await asyncio.to_thread(shop.look)
        except EventsProblem as error:
            log.error("%s Lists are made as of the events before.", error)
        return shop.now() if at is None else await asyncio.to_thread(shop.at, at)

    def _alone(self, loaded: LoadedModel, at: int) -> LoadedModel:
        """Return a version without live events as it ranks at a moment: with the rates that what it learned has then."""
        bias = self._once(loaded, "rates", lambda: Standing(loaded.model)).bias(at)
        return standing_as(
            loaded, replace(loaded.model, product_bias=bias), replace(loaded.candidates, bias=bias)
        )

    def _once(self, loaded: LoadedModel, name: str, make: Callable[[], T]) -> T:
        with self._making:
            made = self._made.setdefault(loaded, {})
            if name not in made:
                made[name] = make()
            found: T = made[name]
            return found
