"""`Progress`: what training tells its watcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Progress", "Watcher", "nobody"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the training stands; loss and accuracy are means over the purchases of this epoch so far."""

    epoch: int
    """from 1"""
    epochs: int
    done: int
    """purchases of this epoch that were learned from"""
    purchases: int
    loss: float
    accuracy: float
    stage: str = "learning"
    """What the epochs are for: choosing settings, or learning the model"""
    compiling: bool = False
    """Whether a kernel is being compiled just now, which happens once on a machine."""


Watcher: TypeAlias = Callable[[Progress], None]


def nobody(_: Progress) -> None:
    """Watch nothing."""
