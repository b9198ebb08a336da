"""`GarbageFreezer`: keep what a model is made of out of Python's garbage collection.

A full collection visits every object. The tens of thousands of ids of a model take it tens of milliseconds, in which no request
is answered, and under load it comes several times a second. So everything that exists after models were loaded is frozen
(`gc.freeze`): no collection visits it until the models change again.

Requests under way are hundreds of objects, and Python looks for cycles among its youngest objects whenever there are 700 (2,000
from 3.13 on) more than before: a twentieth of the time of a list. It looks when there are `YOUNG` instead.
"""

from __future__ import annotations

import gc

from tastemaker.serving.models.registry import Change

__all__ = ["GarbageFreezer"]

YOUNG = 20_000
"""Objects made since the last collection at which there is another: what leaves in cycles stays until then, a few MiB"""


class GarbageFreezer:
    """Collects and freezes once after the models changed. `change` listens to the registry, `look` runs with each of its looks."""

    def __init__(self, *, forked: bool = False) -> None:
        """``forked`` says that this process shares memory with its parent: pages that nobody writes to stay shared."""
        self._changed, self._forked = True, forked
        self._before = gc.get_threshold()
        gc.set_threshold(YOUNG, *self._before[1:])

    def change(self, change: Change) -> None:
        """Note that versions came or went."""
        self._changed = self._changed or change.what != "labels"

    def look(self) -> None:
        """Collect and freeze, if anything changed since the last time.

        What was frozen before is thawed first, since some of it may have become garbage, such as a version that was removed or a
        request that was under way. A forked process leaves it frozen: thawing writes to the pages that it shares.
        """
        if self._changed:
            self._changed = False
            if not self._forked:
                gc.unfreeze()
            gc.collect()
            gc.freeze()

    def close(self) -> None:
        """Thaw everything, and collect as before."""
        gc.set_threshold(*self._before)
        if not self._forked:
            gc.unfreeze()
