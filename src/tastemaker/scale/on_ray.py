"""Work on Ray: on a cluster that runs, or on a Ray of this machine that is started for the work and listens on 127.0.0.1 alone."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tastemaker.errors import SettingProblem, TastemakerError, WorkersLost
from tastemaker.scale.executor import ATTEMPTS, Done, Executor, worker_name

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["OnRay"]

T = TypeVar("T")
R = TypeVar("R")

LOOK_EVERY = 1.0
"""Seconds between two looks at the head."""

PATIENCE = 5
"""Looks at a head in vain until it counts as lost."""

CLIENT_PORT = 10001
"""Where the head listens for clients elsewhere, unless it was started otherwise."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Nothing is told to anybody, and no warning about graphics cards is printed."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""With it Ray takes 127.0.0.1 as the address of its node on Linux, too, and binds to nothing else."""

OWN = ("127.0.0.1", "::1", "localhost")
"""Names of this machine for itself"""


@dataclass(frozen=True, slots=True)
class OnRay:
    """The workers of a Ray cluster, one processor each unless ``threads`` says more."""

    address: str | None
    """``ray://HOST:PORT``; ``None`` is the cluster of this machine, or else one of its own"""
    threads_each: int | None = None

    @property
    def threads(self) -> int:
        """Return the threads of one worker."""
        return self.threads_each or 1

    def run(
        self, work: Callable[[T], R], tasks: Sequence[T], *, on_done: Callable[[Done], None] = lambda _: None
    ) -> list[R]:
        """Do the tasks; those of a worker or a host that is lost are done again by others.

        Raises `WorkersLost` when the head is lost, and `SettingProblem` where Ray is not installed or does not answer.
        """
        if not tasks:
            return []
        with _connected(self.address) as (ray, head):
            return _run(ray, head, self.threads, work, tasks, on_done)

    @contextmanager
    def session(self) -> Iterator[Executor]:
        """Stay connected until the block ends."""
        with _connected(self.address):
            yield self


# long: one loop over what runs, with what can become of a task
def _run(
    ray: ModuleType,
    head: tuple[str, int],
    threads: int,
    work: Callable[[T], R],
    tasks: Sequence[T],
    on_done: Callable[[Done], None],
) -> list[R]:
    # its own attempts are off: a lost worker is to be counted and said
    remote = ray.remote(num_cpus=threads, max_retries=0)(_named)
    results: dict[int, R] = {}
    lost = [0] * len(tasks)
    running: dict[Any, int] = {}
    waiting = list(reversed(range(len(tasks))))
    at_once = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
    silent = 0
    while waiting or running:
        while waiting and len(running) < at_once:
            number = waiting.pop()
            running[remote.remote(work, tasks[number])] = number
        ended, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_EVERY)
        if not ended:
            silent = 0 if _answers(head) else silent + 1
            if silent >= PATIENCE:
                raise _head_lost(head, len(results), len(tasks))
            continue
        number = running.pop(ended[0])
        try:
            worker, results[number] = ray.get(ended[0])
        except ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            raise (cause if isinstance(cause, TastemakerError) else error) from None
        except (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.OutOfMemoryError,
        ) as error:
            if not _answers(head):
                raise _head_lost(head, len(results), len(tasks)) from error
            lost[number] += 1
            if lost[number] >= ATTEMPTS:
                raise WorkersLost(
                    f"part {number + 1:,} of {len(tasks):,} was begun {ATTEMPTS} times and each time its worker was lost "
                    f"({type(error).__name__}); what other parts have written is kept. Give a worker more memory."
                ) from error
            waiting.append(number)
            continue
        on_done(Done(number, worker, lost[number]))
    return [results[number] for number in range(len(tasks))]


def _named(work: Callable[[T], R], task: T) -> tuple[str, R]:
    return worker_name(), work(task)


@contextmanager
def _connected(address: str | None) -> Iterator[tuple[ModuleType, tuple[str, int]]]:
    """Connect to a cluster or start one; yield Ray and where the head listens."""
    address = address or os.environ.get("RAY_ADDRESS") or _running_here()
    here = address is None or _place_of(address)[0] in OWN
    for name, value in (QUIET | LOOPBACK if here else QUIET).items():
        os.environ.setdefault(name, value)
    if address is not None and _has_token():  # without the mode, Ray's client would not show it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    ray = _imported()
    if address is not None and not _answers(_place_of(address)):  # Ray itself would try for half a minute
        raise SettingProblem(
            f"no Ray answers at {address}. Start it with ray start --head, or leave the work to --workers local."
        )
    if ray.is_initialized():  # by our caller or by a session of ours, which end it, too
        yield ray, _head_of(ray, address)
        return
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, ImportError) as error:
        raise SettingProblem(
            f"no Ray answers at {address or 'this machine'}: {_reason(error):.200} "
            "Start it with ray start --head, give its token (RAY_AUTH_TOKEN) if it has one, or leave the work to --workers local."
        ) from error
    head = _head_of(ray, address)
    try:
        if address is None and head[0] not in OWN:
            raise SettingProblem(
                f"Ray would listen on {head[0]}, not on 127.0.0.1 alone: it was imported before this was asked for. "
                f"Set {next(iter(LOOPBACK))}=0 before it is imported, or start Ray yourself."
            )
        yield ray, head
    except Exception as error:  # without a head, Ray raises errors of many kinds
        if isinstance(error, WorkersLost) or _answers(head):
            raise
        raise _head_lost(head, None, None) from error
    finally:
        _end(ray)


def _reason(error: Exception) -> str:
    r"""Return what an error says, in a line: where a head sends a traceback, its last line says why.

    >>> _reason(RuntimeError("Initialization failure from server:\nTraceback (most recent call last):\nRuntimeError: no channel"))
    'Initialization failure from server: RuntimeError: no channel'
    """
    first, *more = str(error).splitlines() or [type(error).__name__]
    return f"{first} {more[-1]}" if more and first.endswith(":") else first


def _has_token() -> bool:
    """Return whether a token of a cluster lies where Ray looks for it; new clusters of Ray ask for one."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or Path.home().joinpath(".ray", "auth_token").exists()


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise SettingProblem(
            "--workers ray needs Ray, which is not installed: pip install 'tastemaker[ray]'."
        ) from error
    module: ModuleType = ray
    return module


def _running_here() -> str | None:
    """Return the address of a cluster that `ray start` began on this machine, and that answers; ``None`` without one."""
    noted = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
    try:
        address = noted.read_text().strip()
        return address if address and _answers(_place_of(address)) else None
    except (OSError, ValueError):
        return None


def _head_of(ray: ModuleType, address: str | None) -> tuple[str, int]:
    """Return host and port of the head."""
    if address is not None and address.startswith("ray://"):
        return _place_of(address)
    return _place_of(ray.get_runtime_context().gcs_address)


def _place_of(address: str) -> tuple[str, int]:
    parts = urlsplit(address if "://" in address else f"//{address}")
    return parts.hostname or "", parts.port or CLIENT_PORT


def _answers(head: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(head, timeout=LOOK_EVERY):
            return True
    except OSError:
        return False


def _head_lost(head: tuple[str, int], done: int | None, of: int | None) -> WorkersLost:
    how_far = "" if done is None else f" after {done:,} of {of:,} parts"
    return WorkersLost(
        f"the head of the Ray cluster at {head[0]}:{head[1]} was lost{how_far}; what is written is kept. "
        "Give the same command again when it runs: only what is missing is done."
    )


def _end(ray: ModuleType) -> None:
    """Leave the cluster, in at most ten seconds: without a head Ray would wait for it much longer."""
    if sys.is_finalizing():
        return
    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(10)
