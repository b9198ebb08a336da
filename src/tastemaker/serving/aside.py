"""A process beside the server that keeps files up to date from elsewhere, for all workers.

Workers watch those files as they watch any. They and their parent ask no database and no store: drivers and Polars keep threads,
which do not survive the fork of a worker, and one process asks once for all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

from tastemaker.errors import ServerProblem

__all__ = ["aside"]


@contextlib.contextmanager
def aside(module: str, order: Mapping[str, object], what: str) -> Iterator[None]:
    """Run a module beside the block, once it has said on its output that it has begun well, as JSON: nothing, or its problem.

    Raises `ServerProblem`, in which ``what`` names what cannot be read.
    """
    owner = os.getpid()
    process = subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # Through a pipe: what stands in a command line, every user of the machine may read.
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        problem: str | None = json.loads(process.stdout.readline() or '"the process that reads it ended."')
        if problem is not None:
            raise ServerProblem(f"{what} cannot be read: {problem}")
        yield
    finally:
        if os.getpid() == owner:
            process.kill()
            process.communicate()
