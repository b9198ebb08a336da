"""What the API keeps beside the models: rules in force, live purchases, and what is made when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from msgspec import UnsetType
from starlette.requests import Request

from tastemaker.errors import NotServed
from tastemaker.ranking.why import Buyers
from tastemaker.serving.answering.active_rules import RulesInForce
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.answering.product_search import ProductIndex
from tastemaker.serving.api.schemas import BodyOfList, ModelQuery
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry

__all__ = ["ApiState", "chosen", "state_of"]

T = TypeVar("T")


@dataclass(slots=True)
class ApiState:
    """Everything that outlives a request of the API."""

    rules: RulesInForce
    events: Events | None
    _made: WeakKeyDictionary[LoadedModel, dict[str, Any]] = field(default_factory=WeakKeyDictionary)
    _making: threading.RLock = field(default_factory=threading.RLock)

    @staticmethod
    def open(settings: Settings, shelf: Registry) -> ApiState:
        """Read the rules and open the events; raise `EventsProblem` when their file cannot be used."""
        events = None if settings.events is None else Events(settings.events)
        return ApiState(RulesInForce(shelf), events)

    def close(self) -> None:
        """Close the events."""
        if self.events is not None:
            self.events.close()

    def buyers(self, loaded: LoadedModel) -> Buyers:
        """Return who bought each product, made when first asked for."""
        return self._once(loaded, "buyers", lambda: Buyers(loaded.model))

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


def state_of(request: Request) -> ApiState:
    """Return what the API keeps."""
    state: ApiState = request.app.state.api
    return state


def chosen(request: Request, asked: ModelQuery | BodyOfList) -> LoadedModel:
    """Return the version that a request names, or the default one of the only model; note it for the log.

    Raises `NotServed` (404), and `Refusal` (422) where the request is ambiguous.
    """
    shelf: Registry = request.app.state.shelf
    name = asked.model or None
    version = None if isinstance(asked.version, UnsetType) else asked.version
    label = asked.label or None
    if version is not None and label is not None:
        raise Refusal(422, "the request names a version and a label; name one of them.")
    if asked.model == "" or asked.label == "":
        raise NotServed("the name of a model or label is not empty.", missing="model")
    if name is None:
        names = list(shelf.models)
        if len(names) != 1:
            raise Refusal(422, f"{len(names)} models are served; name one: {', '.join(names)}.")
        name = names[0]
    loaded = shelf.get(name, version, label)
    request.scope["state"]["model"] = loaded
    return loaded
