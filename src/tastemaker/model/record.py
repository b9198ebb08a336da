"""`TrainingRecord`: where a model comes from, so that it can be made again and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tastemaker.model.config import Config

__all__ = ["Epoch", "TrainingRecord"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the purchases measured; loss and accuracy are the workshop's, over 1 + S candidates."""

    epoch: int
    loss: float
    accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Settings, seed, data and course of one training."""

    config: Config | None
    """``None`` for a model that was not trained by settings, such as a baseline"""
    seed: int
    data_fingerprint: str
    purchases: int
    epochs: tuple[Epoch, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What was measured on a part held out of train, and what was chosen by it."""
    interrupted: bool = False
    """Whether the user stopped the training before its last epoch."""
    read: Mapping[str, Any] = field(default_factory=dict)
    """What was read of the log, as `tastemaker inspect --json` says it; empty where no log was read."""
