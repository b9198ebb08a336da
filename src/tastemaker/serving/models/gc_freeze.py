"""`Garbage`: keep what a model is made of out of Python's collections of garbage.

A full collection visits every object: tens of thousands of ids take it tens of milliseconds, in which no request is answered, and
it comes several times a second under load. What is there after a change of the shelf stays until the next one.
"""

from __future__ import annotations

import gc

from tastemaker.serving.models.registry import Change

__all__ = ["Garbage"]


class Garbage:
    """Sets aside what is there after each change of the shelf; a listener and a chore of its watch."""

    def __init__(self, *, forked: bool = False) -> None:
        """``forked`` says that memory is shared with a parent process, page by page, as long as nobody touches it."""
        self._changed, self._forked = True, forked

    def change(self, change: Change) -> None:
        """Note that versions came or went."""
        self._changed = self._changed or change.what != "labels"

    def look(self) -> None:
        """Collect once, if anything changed, and set aside all that is left.

        What was set aside before is looked through too, unless that would part it from the parent's: some of it may have become
        garbage since, such as a request that was under way.
        """
        if self._changed:
            self._changed = False
            if not self._forked:
                gc.unfreeze()
            gc.collect()
            gc.freeze()

    def close(self) -> None:
        """Give everything back to the collections."""
        if not self._forked:
            gc.unfreeze()
