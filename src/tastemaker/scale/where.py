"""`executor_of`: the executor that a word of the command line names."""

from __future__ import annotations

import re

from tastemaker.errors import SettingProblem
from tastemaker.scale.executor import Executor
from tastemaker.scale.local import Processes, ThisProcess
from tastemaker.scale.on_ray import OnRay

__all__ = ["executor_of", "is_place"]

PROCESSES, CLUSTER = r"local:([1-9][0-9]{0,3})", r"ray://[\w.\-\[\]:]+"


def is_place(text: str) -> bool:
    """Return whether `executor_of` knows a text.

    >>> [is_place(text) for text in ("local", "local:4", "ray://head:10001", "order_id")]
    [True, True, True, False]
    """
    return text in ("local", "ray") or bool(re.fullmatch(f"{PROCESSES}|{CLUSTER}", text))


def executor_of(on: str, threads: int | None = None) -> Executor:
    """Return the executor of a text: ``local``, ``local:4`` (processes), ``ray`` or ``ray://HOST:PORT``.

    ``threads`` are those of one worker. Raises `SettingProblem` for another text.
    """
    if on == "local":
        return ThisProcess(threads)
    if match := re.fullmatch(PROCESSES, on):
        return Processes(int(match[1]), threads)
    if on == "ray" or re.fullmatch(CLUSTER, on):
        return OnRay(None if on == "ray" else on, threads)
    raise SettingProblem(
        f"work cannot be done on {on!r}; write local, local:PROCESSES, ray, or ray://HOST:PORT for a cluster."
    )
