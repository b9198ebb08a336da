"""`Service`: what a running server has to answer requests with, and `RequestInfo`: one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tastemaker.serving.answering.batcher import Engine
from tastemaker.serving.answering.state import ApiState
from tastemaker.serving.front.api_keys import Role, WatchedKeys
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.measuring.measuring import Measuring
from tastemaker.serving.models.registry import Registry

__all__ = ["RequestInfo", "Service"]


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that handlers share: the models, what ranks, what counts, and what is kept beside the models."""

    settings: Settings
    registry: Registry
    engine: Engine
    metrics: Metrics
    state: ApiState
    measuring: Measuring
    keys: WatchedKeys | None = None
    """``None`` where no keys are asked for"""


@dataclass(slots=True)
class RequestInfo:
    """One request as a handler sees it, beside the values that its operation declares."""

    service: Service
    role: Role | None
    """What the caller's key allows; ``None`` without a key where keys are needed"""
    headers: Mapping[str, str | None]
    """The headers that the operation declares, by their declared names; ``None`` where one was not sent"""
    content: bytes
    """The body as it was sent"""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the log and the counters want to know of the request"""
