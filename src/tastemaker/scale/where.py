"""`executor_of`: the executor that a word of the command line names."""

from __future__ import annotations

import re

from tastemaker.errors import SettingProblem
from tastemaker.scale.executor import Executor
from tastemaker.scale.local import Processes, ThisProcess
from tastemaker.scale.on_ray import OnRay

__all__ = ["executor_of"]


def executor_of(on: str, threads: int | None = None) -> Executor:
    """Return the executor of a text: ``local``, ``local:4`` (processes), ``ray`` or ``ray://HOST:PORT``.

    ``threads`` are those of one worker. Raises `SettingProblem` for another text.
    """
    if on == "local":
        return ThisProcess(threads)
    if match := re.fullmatch(r"local:([1-9][0-9]{0,3})", on):
        return Processes(int(match[1]), threads)
    if on == "ray" or re.fullmatch(r"ray://[\w.\-\[\]:]+", on):
        return OnRay(None if on == "ray" else on, threads)
    raise SettingProblem(
        f"work cannot be done on {on!r}; write local, local:PROCESSES, ray, or ray://HOST:PORT for a cluster."
    )
