"""`serve`: from settings to running processes. One process answers, or several share the port and their memory.

Several are forked from a parent that has imported and compiled everything but loaded no model, so that they start at once and
share those pages; models are mapped from files, which exist once in memory too. The parent only watches: it restarts a worker that
died, passes on SIGTERM and SIGINT, and ends when all have drained.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import shutil
import signal
import socket
import stat
import struct
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tastemaker.errors import ServerProblem
from tastemaker.serving.catalogue_copy import copied
from tastemaker.serving.connections.descriptors import raise_the_limit
from tastemaker.serving.connections.door import turn_away
from tastemaker.serving.front.hosts import is_loopback
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.model_copy import fetched
from tastemaker.serving.models.tryout import Tryout
from tastemaker.serving.restarts import Restarts
from tastemaker.storage import is_alive

__all__ = ["Announce", "Ending", "serve"]

log = logging.getLogger("tastemaker.server")

Announce = Callable[[str, "list[str]"], None]
"""Called once with the address, such as ``http://127.0.0.1:8501``, and what is served, such as ``recommender/3``."""

SCRATCH = "tastemaker-serve-"
READY = b"ready"
COUNT = struct.Struct("=q")
HEARD = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a server ended.

    >>> print(Ending()), print(Ending(cut_off=2)), print(Ending(cut_off=1, silent=1))
    all requests were answered
    2 requests were cut off
    1 request was cut off, and 1 worker ended without a word of those that it held
    (None, None, None)
    """

    cut_off: int = 0
    """Requests that were not answered in time"""
    silent: int = 0
    """Workers that ended without saying what they had not answered"""

    def __str__(self) -> str:
        parts = []
        if self.cut_off:
            parts.append(f"{self.cut_off:,} request{'s were' if self.cut_off > 1 else ' was'} cut off")
        if self.silent:
            held, they = ("they", "s") if self.silent > 1 else ("it", "")
            parts.append(f"{self.silent:,} worker{they} ended without a word of those that {held} held")
        return ", and ".join(parts) or "all requests were answered"


def serve(settings: Settings, announce: Announce) -> Ending:
    """Serve until SIGTERM or SIGINT, then answer what was asked; return how much of it was not.

    Raises `ServerProblem`, `SettingProblem`, `StateProblem`, `EventsFull` and `EventsProblem` before that.
    """
    raise_the_limit()
    with fetched(settings) as ready:
        return _served(ready, announce)


def _served(settings: Settings, announce: Announce) -> Ending:
    _check_address(settings)
    _warn_of_readers(settings)
    _check_models(settings)
    _check_events(settings)
    _check_keys(settings)
    if settings.events is not None and settings.keys is None:
        log.warning(
            "without --keys nobody can send purchases: that takes a key of the role events or admin. Those kept before are used."
        )
    with (
        _listening(settings) as listener,
        _scratch(settings) as scratch,
        copied(replace(settings, scratch=scratch), scratch) as ready,
    ):
        if settings.workers > 1:
            folder = scratch / "metrics"
            folder.mkdir()
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        from tastemaker.serving.models.warmup import warm
        from tastemaker.serving.worker import work

        warm()
        with Tryout(scratch):
            if settings.workers == 1:
                with _signals_end_nothing():
                    return Ending(work(ready, listener, lambda served: announce(_address(listener), served)))
            return _Supervisor(ready, listener).run(announce)


def _warn_of_readers(settings: Settings) -> None:
    """Warn of files of keys and events that others of this machine may read."""
    for what, file in (("keys", settings.keys), ("events", settings.events)):
        try:
            mode = 0 if file is None else stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            log.warning(
                "other users of this machine may read the file of %s %s (mode %03o); run chmod 600 on it.",
                what,
                file,
                mode,
            )


def _check_address(settings: Settings) -> None:
    if settings.keys is None and not settings.insecure and not is_loopback(settings.host):
        raise ServerProblem(
            f"{settings.host} can be reached from other machines, and there are no API keys; give --keys FILE "
            "(`tastemaker key new --keys FILE` makes one), or --without-keys if something in front of it keeps strangers out."
        )


def _check_events(settings: Settings) -> None:
    """Make or open the file of events, so that what is wrong with it is one sentence before anything is served."""
    if settings.events is not None or settings.state is not None:
        from tastemaker.serving.shared.shared_events import open_events

        events = open_events(settings.events, settings.state)
        assert events is not None
        events.close()


def _check_keys(settings: Settings) -> None:
    """Read the keys, and join the state where hosts share it, so that what is wrong is one sentence before anything is served."""
    from tastemaker.serving.front.api_keys import last_good_keys
    from tastemaker.serving.shared.home import home_of

    home = home_of(settings)
    try:
        if settings.keys is not None:
            last_good_keys(home.keys(settings.keys))
    finally:
        home.close()


def _check_models(settings: Settings) -> None:
    from tastemaker.serving.models.registry import find_versions

    models = settings.models
    if not models.is_dir():
        what = "is a file" if models.exists() else "does not exist"
        raise ServerProblem(f"{models} {what}; give the folder that holds models as NAME/VERSION.")
    if not find_versions(models):
        raise ServerProblem(
            f"{models} holds no model; it should hold folders NAME/VERSION, as "
            f"`tastemaker train PURCHASES --out {models / 'recommender' / '1'}` writes."
        )


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerProblem(
            f"{host} is not an address of this machine ({error.strerror or error})."
        ) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(2048)
        except OSError as error:
            raise ServerProblem(
                f"cannot listen on {host} port {port}: {error.strerror or error}; choose another --port, or 0 for any free one."
            ) from error
        listener.set_inheritable(True)
        yield listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """Make a folder for what workers share; remove it at the end, with the leftovers of killed servers."""
    parent = settings.scratch or Path(tempfile.gettempdir())
    for left in parent.glob(f"{SCRATCH}*-*"):
        owner = left.name.removeprefix(SCRATCH).split("-")[0]
        with contextlib.suppress(OSError):
            if owner.isdigit() and not is_alive(int(owner)) and left.stat().st_uid == os.geteuid():
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=parent))
    owner_process = os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner_process:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _signals_end_nothing() -> Iterator[None]:
    """While the web server drains on a signal, and after, let that signal do nothing else: the exit code is then 0."""
    before = {number: signal.signal(number, lambda *_: None) for number in HEARD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stopped(BaseException):
    """A signal came before the server was ready."""


class _Supervisor:
    """The parent of several workers."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        self._workers: dict[int, float] = {}
        self._alive_end, self._alive = os.pipe()
        """A worker whose parent dies reads the end of this pipe, and ends"""
        self._woken, self._wake = os.pipe()
        """A byte comes here with every signal"""
        self._ready = self._stop = False
        self._summed, self._cut_off = os.pipe()
        """A worker that could not answer everything says here how many requests that were"""
        self._silent = 0
        """Workers that ended otherwise than by themselves when all were to end"""
        self._restarts = Restarts()
        self._due: list[float] = []
        """When workers are to take the places of those that ended"""

    def run(self, announce: Announce) -> Ending:
        """Start the workers, watch over them until a signal, and end them; return how much they did not answer."""
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._hear) for number in (*HEARD, signal.SIGCHLD)}
        try:
            gc.collect()
            gc.freeze()
            tellers = [self._start() for _ in range(self._settings.workers)]
            served = [self._wait_for(teller) for teller in tellers]
            self._ready = True
            announce(_address(self._listener), served[0])
            while not self._stop:
                self._watch()
        except _Stopped:
            log.info("stopped before it was ready")
        finally:
            self._stop = self._ready = True
            self._end_all()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
        return Ending(self._sum(), self._silent)

    def _sum(self) -> int:
        """Return how many requests the workers could not answer."""
        os.set_blocking(self._summed, False)
        try:
            said = os.read(self._summed, COUNT.size << 12)
        except BlockingIOError:  # nobody said anything
            said = b""
        return sum(number for (number,) in COUNT.iter_unpack(said))

    def _hear(self, number: int, _: object) -> None:
        if number in HEARD:
            self._stop = True
            if not self._ready:
                raise _Stopped

    def _start(self) -> int:
        """Fork a worker; return a pipe on which it tells what it serves, or why it cannot."""
        reading, telling = os.pipe()
        with warnings.catch_warnings():
            # Python warns of threads at a fork: those of libraries, which sleep between calls, and of which no lock is held here
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if not process:
            os.close(reading)
            os.close(self._alive)
            os._exit(self._be_worker(telling))
        os.close(telling)
        self._workers[process] = time.monotonic()
        return reading

    def _be_worker(self, telling: int) -> int:
        from tastemaker.serving.worker import work

        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in HEARD:
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._end_with_parent, daemon=True).start()

        def tell(served: list[str]) -> None:
            with contextlib.suppress(BrokenPipeError):  # nobody waits for one that was started again
                os.write(telling, READY + "\n".join(served).encode())
            os.close(telling)

        try:
            cut_off = work(self._settings, self._listener, tell)
            if cut_off:
                os.write(self._cut_off, COUNT.pack(cut_off))
        except ServerProblem as error:
            log.error("%s", error)
            with contextlib.suppress(BrokenPipeError):
                os.write(telling, str(error).encode())
            return 1
        except BaseException:
            log.exception("a worker failed")
            return 1
        return 0

    def _end_with_parent(self) -> None:
        os.read(self._alive_end, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _wait_for(self, teller: int) -> list[str]:
        parts = []
        while part := os.read(teller, 1 << 16):
            parts.append(part)
        os.close(teller)
        told = b"".join(parts)
        if not told.startswith(READY):
            raise ServerProblem(told.decode() or "a worker ended before it was ready; the log says why.")
        return told.removeprefix(READY).decode().split("\n")

    def _watch(self) -> None:
        """Wait for a signal or a second, then restart the workers that ended."""
        if select.select([self._woken], [], [], 1.0)[0]:
            os.read(self._woken, 1 << 16)
        for process in self._reap():
            began = self._workers.pop(process)
            pause = self._restarts.pause_after(time.monotonic() - began)
            facts = {"ended": process, "pause_seconds": pause}
            log.error("a worker ended and is started again", extra={"facts": facts})
            self._sweep(process)
            self._due.append(time.monotonic() + pause)
        now = time.monotonic()
        for due in [due for due in self._due if due <= now and not self._stop]:
            self._due.remove(due)
            os.close(self._start())

    def _sweep(self, process: int) -> None:
        """Keep what a worker counted, in one file for all that ended."""
        from tastemaker.serving.front.metrics import SHARED_FOLDER, sweep_dead

        try:
            sweep_dead(Path(os.environ[SHARED_FOLDER]), process)
        except (OSError, KeyError, ValueError):
            log.exception("the counts of a worker that ended could not be kept")

    def _reap(self) -> list[int]:
        ended = []
        for process in list(self._workers):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                ended.append(process)
                self._silent += self._stop and os.waitstatus_to_exitcode(status) != 0
        return ended

    def _end_all(self) -> None:
        turn_away(self._listener)  # for all workers: they accept what waits, and close
        self._listener.close()
        last = time.monotonic() + self._settings.drain_seconds + 5
        while self._workers and time.monotonic() < last:
            self._signal_all(signal.SIGTERM)  # again and again: one that was just forked may have missed it
            pause = time.monotonic() + 1
            while self._workers and time.monotonic() < pause:
                for process in self._reap():
                    del self._workers[process]
                time.sleep(0.02)
        self._silent += len(self._workers)
        self._signal_all(signal.SIGKILL)
        for process in self._workers:
            os.waitpid(process, 0)

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
