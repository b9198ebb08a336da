"""`Garbage`: keep what a model is made of out of Python's collections of garbage.

A full collection visits every object: tens of thousands of ids take it tens of milliseconds, in which no request is answered, and
it comes several times a second under load. What is there after a change of the shelf stays until the next one.
"""

from __future__ import annotations

import gc

from tastemaker.serving.shelf import Change

__all__ = ["Garbage"]


class Garbage:
    """Sets aside what is there after each change of the shelf; a listener and a chore of its watch."""

    def __init__(self) -> None:
        self._changed, self._first = True, True

    def change(self, change: Change) -> None:
        """Note that versions came or went."""
        self._changed = self._changed or change.what != "labels"

    def look(self) -> None:
        """Collect once, what was set aside before included, and set aside all that is left, if anything changed."""
        if self._changed:
            self._changed = False
            if (
                not self._first
            ):  # what a parent process set aside stays so, and its pages shared, until a first change
                gc.unfreeze()
            self._first = False
            gc.collect()
            gc.freeze()

    def close(self) -> None:
        """Give everything back to the collections."""
        gc.unfreeze()
