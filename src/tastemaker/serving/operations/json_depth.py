"""How deep JSON nests, found from its bytes, so that no parser ever sees a body that nests too deep."""

from __future__ import annotations

import re

import numpy as np

from tastemaker.serving.front.problems import Refusal

__all__ = ["check_depth"]

_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


def check_depth(body: bytes, most: int) -> None:
    """Refuse (400) a JSON body that nests deeper than ``most`` levels; brackets within texts do not count."""
    if body.count(b"[") + body.count(b"{") <= most:
        return
    brackets = _TEXTS.sub(b"", body).translate(None, _NO_BRACKETS)
    steps = _STEPS[np.frombuffer(brackets, np.uint8)]
    if len(steps) and int(np.cumsum(steps, dtype=np.int32).max()) > most:
        raise Refusal(400, f"the JSON nests deeper than {most} levels.")
