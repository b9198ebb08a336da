"""Which model and version a request is for."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from tastemaker.errors import NotServed
from tastemaker.serving.api.schemas import ModelQuery
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.measuring.in_force import Assigned
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["chosen", "chosen_for"]


def chosen(request: RequestInfo, asked: ModelQuery) -> LoadedModel:
    """Return the version that a request names, or the default one of the only model; note it for the log and the answer.

    Raises `NotServed` (404), and `Refusal` (422) where the request is ambiguous.
    """
    registry = request.service.registry
    name = asked.model or None
    version = None if isinstance(asked.version, UnsetType) else asked.version
    label = asked.label or None
    if version is not None and label is not None:
        raise Refusal(422, "the request names a version and a label; name one of them.")
    if asked.model == "" or asked.label == "":
        raise NotServed("the name of a model or label is not empty.", missing="model")
    if name is None:
        names = list(registry.models)
        if len(names) != 1:
            raise Refusal(422, f"{len(names)} models are served; name one: {', '.join(names)}.")
        name = names[0]
    loaded = registry.get(name, version, label)
    request.notes["model"] = loaded
    return loaded


def chosen_for(
    request: RequestInfo, asked: ModelQuery, users: Sequence[object]
) -> tuple[LoadedModel, list[Assigned | None]]:
    """Return the version that a request gets, and what a running experiment says of each user; None is nobody.

    A request that names a version or a label gets it, and takes part in nothing. Raises as `chosen`.
    """
    loaded = chosen(request, asked)
    experiments = request.service.measuring.experiments
    if not experiments.running or asked.version is not UNSET or asked.label is not UNSET:
        return loaded, [None] * len(users)
    assigned = [None if user is None else experiments.assigned(loaded.name, user) for user in users]
    if len(assigned) == 1 and assigned[0] is not None:
        loaded = request.notes["model"] = assigned[0].loaded
    return loaded, assigned
