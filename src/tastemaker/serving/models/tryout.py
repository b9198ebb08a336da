"""A version is tried outside the process that serves: a child loads it and answers a few requests, within a limit of time.

A folder that passes every check and still crashes the process that loads it crashes the child only. `Tryout` is one process, forked
from the server before that has models or threads; it forks a child for each version, and gives its memory back when it has
been idle for a while. Workers reach it through a socket in the scratch folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tastemaker.errors import DamagedModel, TryLater

__all__ = ["SOCKET", "Tryout", "can_try", "try_version"]

log = logging.getLogger("tastemaker.tryout")

SOCKET = "tryout.socket"

LONGEST = 300.0
"""Seconds that a child may take by default; the largest model that was measured takes ten."""

PROBES = 16
"""How many users, spread over all, a child ranks for, and how many products it finds neighbours of."""

MODULE, COMMAND = "tastemaker.serving.models.tryout", "tryout"

IDLE = 20.0
"""Seconds without a version to try, after which the process begins anew without what trying needs: 90 MiB of it"""

LONGEST_ADDRESS = 100
"""Bytes"""

LARGEST = 64 << 10
"""Bytes of a request or an answer"""


class Tryout:
    """The process that tries versions, as a context that begins before models are loaded."""

    def __init__(self, scratch: Path, *, seconds: float = LONGEST, idle: float = IDLE) -> None:
        self._path, self._seconds, self._idle = scratch / SOCKET, seconds, idle
        self.process = 0
        self._owner = os.getpid()

    def __enter__(self) -> Tryout:
        """Fork the process. What this one has imported and compiled, it has; threads would be lost, so there should be none yet."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        ends, self._alive = os.pipe()  # ends when this process and its workers do, however they do
        with listener, _short(self._path) as path:
            listener.bind(path)
            listener.listen(64)
            with warnings.catch_warnings():
                # of threads at a fork: those of libraries, which sleep between calls
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process = os.fork()
            if not self.process:
                os._exit(_begin(listener.fileno(), ends, self._seconds, self._idle))
        os.close(ends)
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and what it is trying."""
        if os.getpid() == self._owner:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
            os.close(self._alive)


def can_try(scratch: Path) -> bool:
    """Return whether a `Tryout` was started for this scratch folder."""
    return (scratch / SOCKET).exists()


def try_version(scratch: Path, folder: Path, *, seconds: float = LONGEST) -> str | None:
    """Have a folder tried and return what is wrong with it; raise `TryLater` where it cannot be tried.

    Where the process that tries versions has ended, a new process tries this version, which takes a second longer.
    """
    try:
        try:
            said = _asked(scratch, folder, seconds)
        except ConnectionError:
            said = _asked_alone(folder, seconds)
        answer: dict[str, str | None] = json.loads(said)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise TryLater(f"{folder.name} could not be tried ({error}); it is tried again later.") from error
    return answer["problem"]


def _asked(scratch: Path, folder: Path, seconds: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, _short(scratch / SOCKET) as address:
        asking.settimeout(2 * seconds)
        asking.connect(address)
        asking.sendall(os.fsencode(folder))
        asking.shutdown(socket.SHUT_WR)
        if said := _all_of(asking):
            return said
        raise ConnectionResetError("the process that tries versions ended")


def _asked_alone(folder: Path, seconds: float) -> bytes:
    command = [sys.executable, "-m", MODULE, "alone", str(seconds), str(folder)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=2 * seconds + 60).stdout


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of a path that a socket can have: the system takes 107 bytes, and folders may be deeper."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _begin(listener: int, ends: int, seconds: float, idle: float) -> int:
    """Be the process that tries versions, as a fork: keep nothing open but the socket and the pipe."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
        low, high = sorted((listener, ends))
        for first, last in ((3, low), (low + 1, high), (high + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(first, last)
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(COMMAND)  # so that it is told from a worker
        with socket.socket(fileno=listener) as taken:
            _serve(taken, ends, seconds, idle)
    except BaseException:
        log.exception("the process that tries versions failed")
        return 1
    return 0


def _serve(listener: socket.socket, ends: int, seconds: float, idle: float) -> None:
    """Try what workers ask for, one version after another, until the server ends."""
    watched: list[Any] = [listener, ends]
    while True:
        ready, _, _ = select.select(watched, [], [], idle)
        if ends in ready:
            return
        if not ready:
            # begins anew with nothing loaded; who asks meanwhile waits at the same socket
            for descriptor in (listener.fileno(), ends):
                os.set_inheritable(descriptor, True)
            given = map(str, (listener.fileno(), ends, seconds, idle))
            os.execv(sys.executable, [sys.executable, "-m", MODULE, *given])
        asked, _ = listener.accept()
        with asked, contextlib.suppress(OSError):
            asked.settimeout(10)
            folder = Path(os.fsdecode(_all_of(asked)))
            asked.sendall(json.dumps({"problem": _outcome(folder, seconds)}).encode())


def _begin_cold(listener: int, ends: int, seconds: float, idle: float) -> None:
    """Be that process as a program of its own, which loads what trying needs when it is asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if ends in select.select([listener, ends], [], [])[0]:
        return
    from tastemaker.serving.models.warmup import warm

    warm()
    with socket.socket(fileno=listener) as taken:
        _serve(taken, ends, seconds, idle)


def _outcome(folder: Path, seconds: float) -> str | None:
    """Return what is wrong with a version: what a child says of it, or how the child ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os._exit(_try(folder, writing))
    os.close(writing)
    end = time.monotonic() + seconds
    said = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while (left := end - time.monotonic()) > 0 and select.select([pipe], [], [], left)[0]:
            part = pipe.read(LARGEST)
            if not part:
                break
            said += part
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        late = (
            f"took more than {seconds:g} s"
            if name == "SIGKILL" and time.monotonic() >= end
            else f"ended by {name}"
        )
        return f"{folder.name} was tried and {late}; train the model again."
    return said.decode() or None


def _try(folder: Path, writing: int) -> int:
    """Load and probe in the child; write what is wrong."""
    try:
        _probe(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writing, f"{error or type(error).__name__}".encode()[:LARGEST])
        return 1
    return 0


def _probe(folder: Path) -> None:
    """Do what a worker will do with a version: load it, and rank for users and products spread over all.

    Of a copy in the scratch folder, what workers map and read beside it is made here: packed products with narrow copies, and the
    ids of many users. So no worker ever needs the memory for making it.
    """
    import numpy as np

    from tastemaker.model.folder import load_with, read_manifest
    from tastemaker.ranking.rank import nearest, rank_users
    from tastemaker.serving.models.shared_pages import shared_products, shared_vocabulary, version_key

    scratch = folder.parent if can_try(folder.parent) else None
    key = version_key(read_manifest(folder))
    model = load_with(partial(shared_vocabulary, scratch=scratch, key=key), folder, verify=True)
    candidates = shared_products(model, scratch, key)

    def some(count: int) -> Any:
        return np.unique(np.linspace(0, max(count - 1, 0), PROBES).astype(np.int32))[:count]

    lists = [
        rank_users(model, some(len(model.users)), candidates, k=10, include_purchased=again, threads=1)
        for again in (False, True)
    ]
    if model.dimensions:
        alone = replace(candidates, bias=np.zeros_like(candidates.bias))
        lists.append(nearest((model.product_vectors, alone), some(len(model.products)), k=10, threads=1))
    for found in lists:
        if not np.isfinite(found.scores).all():
            raise DamagedModel("a list held a score that is not finite; train the model again.")


def _all_of(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(LARGEST):
        parts.append(part)
    return b"".join(parts)


if __name__ == "__main__":
    if sys.argv[1] == "alone":
        print(json.dumps({"problem": _outcome(Path(sys.argv[3]), float(sys.argv[2]))}))
    else:
        _begin_cold(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
