"""Array aliases and the letters that name axes in every docstring.

========  =====================================================
letter    axis
========  =====================================================
``U``     users
``P``     products
``N``     purchases
``D``     dimensions of the vectors
``B``     purchases of a batch
``S``     sampled negatives of a purchase
``Q``     queries
``C``     candidates
``K``     length of a ranked list
========  =====================================================

A *row* is the position of a user or product in a matrix, an *id* is what the shop calls it. No function takes both.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["AnyArray", "Booleans", "Counts", "Doubles", "Floats", "Offsets", "Rows", "Times"]

Rows: TypeAlias = npt.NDArray[np.int32]
"""Positions of users or products: ``int32``."""

Counts: TypeAlias = npt.NDArray[np.int32]
"""How many of something: ``int32``."""

Floats: TypeAlias = npt.NDArray[np.float32]
"""Vectors, biases and scores: ``float32``."""

Doubles: TypeAlias = npt.NDArray[np.float64]
"""Measurements: ``float64``."""

Booleans: TypeAlias = npt.NDArray[np.bool_]
"""Masks and hit flags."""

Offsets: TypeAlias = npt.NDArray[np.int64]
"""Borders of ragged lists: list ``i`` is ``values[offsets[i]:offsets[i + 1]]``."""

Times: TypeAlias = npt.NDArray[np.int64]
"""Moments in microseconds since 1970-01-01 UTC."""

AnyArray: TypeAlias = npt.NDArray[Any]
