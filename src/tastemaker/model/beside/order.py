"""`Order`: how what happened fades with age. `Kinds`: what events other than purchases say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.model.memory import Memory
from tastemaker.types import AnyArray, Floats, Offsets, Times

__all__ = ["DAY", "STEADY", "Fading", "Kinds", "Order", "ages_of", "places_of"]

DAY = 86_400_000_000
"""Microseconds"""


@dataclass(frozen=True, slots=True)
class Fading:
    """Two half-lives, one in places from the last and one in days, 0 where nothing fades; and what a purchase's strength weighs.

    weight = ½^(place / places) · ½^(age / days) · 2^(strength · the purchase's)
    """

    places: float = 0.0
    days: float = 0.0
    strength: float = 0.0

    def weights(self, places: AnyArray, ages: AnyArray, strengths: Floats | None = None) -> Floats:
        """Return the weight of each event, ``float32[n]``, from its place (0 is the last), its age in days, and its strength.

        >>> Fading(places=1.0).weights(np.array([0, 1, 2]), np.zeros(3)).tolist()
        [1.0, 0.5, 0.25]
        """
        halvings = np.zeros(len(places))
        if self.places:
            halvings += places / self.places
        if self.days:
            halvings += ages / self.days
        if self.strength and strengths is not None:
            halvings -= self.strength * strengths
        weights: Floats = np.exp2(-halvings).astype(np.float32)
        return weights


STEADY = Fading()


@dataclass(frozen=True, slots=True)
class Order:
    """How purchases fade with age, in the query's vector and in what the memory says of them."""

    taste: Fading = STEADY
    memory: Fading = STEADY
    end: int = 0
    """The last moment that the model knows of, in microseconds since 1970; a query without a time is asked then"""


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """What events other than purchases say of the next purchase; nothing once their product has been bought after them."""

    names: tuple[str, ...]
    """The kinds, K of them"""
    own: tuple[float, ...]
    """What an event of each kind adds to the score of its own product"""
    taste: tuple[float, ...]
    """The weight of its product's vector in the query"""
    fading: Fading
    memory: Memory | None
    """Row ``k · P + p`` lists what is bought after an event of kind k with product p."""


def places_of(offsets: Offsets, moments: Times) -> AnyArray:
    """Return how many later moments each list knows than that of each of its events, ``int64[total]``: 0 is the last.

    >>> places_of(np.array([0, 3]), np.array([5, 9, 5])).tolist()
    [1, 0, 1]
    """
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-moments, owners))
    owner, moment = owners[order], moments[order]
    first = np.ones(len(order), bool)
    first[1:] = owner[1:] != owner[:-1]
    steps = np.ones(len(order), np.int64)
    steps[1:] = moment[1:] != moment[:-1]
    steps[first] = 0
    running = np.cumsum(steps)
    starts = np.flatnonzero(first)
    places = np.empty(len(order), np.int64)
    places[order] = running - np.repeat(running[starts], np.diff(np.append(starts, len(order))))
    return places


def ages_of(offsets: Offsets, moments: Times, at: Times) -> AnyArray:
    """Return the age of each event in days when its list was asked for, ``at[Q]``; what lies ahead is new."""
    asked = np.repeat(at, np.diff(offsets))
    ages: AnyArray = np.maximum(asked - moments, 0) / DAY
    return ages
