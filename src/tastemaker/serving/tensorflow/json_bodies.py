"""JSON as TensorFlow Serving's clients expect it, quickly written."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["json_of"]


def json_of(value: Any) -> bytes:
    """Return a value as JSON; NumPy arrays are lists, float32 in their shortest exact spelling."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
