"""Files and folders on disk: written whole or not at all, changed under a lock, and seen to have changed.

Every writer of the package goes through this module. It writes under a temporary name of its own in the target's folder, waits
until the content is on the disk, renames, and waits until the name is on the disk: a reader finds the old content or the
new, after a crash too. `update` reads, changes and writes as one step, alone among threads, processes, and hosts that share the
folder. What killed writers leave behind is removed by the next writer.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import re
import shutil
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar

__all__ = [
    "IN_FOLDERS",
    "FileMark",
    "Home",
    "InFolders",
    "flush",
    "good_copy",
    "is_alive",
    "keep_elsewhere",
    "keep_good",
    "kept_elsewhere",
    "locked",
    "mark_of",
    "read_or_good",
    "read_regular",
    "remove_folder",
    "replace_bytes",
    "replace_text",
    "sweep",
    "update",
    "writing",
    "writing_folder",
]

T = TypeVar("T")

FileMark: TypeAlias = tuple[int, int, int]
"""Inode, size and time of the last change in nanoseconds: another mark means another content"""

PATIENCE = 30.0
"""Seconds that a writer waits for the lock of another before it gives up."""

ABANDONED = 24 * 3600.0
"""Seconds after which a temporary name whose writer cannot be asked (another host, a reused process number) counts as litter."""

_TEMPORARY = re.compile(r"\..+\.writing-(?:(?P<machine>[0-9a-f]{8})-)?(?P<process>[0-9]{1,10})(?:-[0-9]+)?")
"""Earlier releases wrote the process number alone."""

_numbers = itertools.count()
_being_written: set[Path] = set()
"""The temporary names of this process; one with our number that is not here is of a process that had the number before us."""

_threads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""One lock a path: file locks over a network are of a process, and do not part its threads."""

os.register_at_fork(after_in_child=_threads.clear)  # held by threads that the child does not have


def mark_of(file: Path | str) -> FileMark | None:
    """Return what changes when a file does; None where it cannot be looked at."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def read_regular(file: Path) -> bytes:
    """Return the content of a regular file; raise `OSError` for anything else, such as a pipe, which would block."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(file))
        return opened.read()


def good_copy(file: Path) -> Path:
    """Return where the last good content of a file of state is kept: ``.NAME.good`` beside it."""
    return file.with_name(f".{file.name}.good")


def keep_good(file: Path, content: bytes | None, *, mode: int | None = None) -> None:
    """Keep a content beside a file as its last good one, or none; where nothing can be written, nothing is kept."""
    copy = good_copy(file)
    with suppress(OSError):
        if content is None:
            copy.unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError):
            if read_regular(copy) == content:
                return
        replace_bytes(copy, content, mode=stat.S_IMODE(file.stat().st_mode) if mode is None else mode)


def read_or_good(file: Path, decode: Callable[[bytes], T]) -> tuple[T, Exception | None]:
    """Return what ``decode`` makes of a file of state, and None; or of the last good content, and why the file is not good.

    A good content is kept for later. What ``decode`` raises says that a content is not good; where there is no good one either,
    the error of the file itself is raised, `OSError` among them.
    """
    mark = mark_of(file)
    try:
        content = read_regular(file)
        found = decode(content)
    except FileNotFoundError:
        raise
    except Exception as error:
        try:
            return decode(read_regular(good_copy(file))), error
        except Exception:
            raise error from None
    if mark_of(file) == mark:  # else a writer has come meanwhile, and keeps its own
        keep_good(file, content)
    return found, None


def replace_bytes(file: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file whole or not at all; ``mode`` as in `writing`. Raises `OSError` when the disk refuses."""
    with writing(file, mode=mode) as temporary:
        temporary.write_bytes(content)


def replace_text(file: Path, text: str, *, mode: int | None = None) -> None:
    """Write a text as UTF-8, whole or not at all; ``mode`` as in `writing`. Raises `OSError` when the disk refuses."""
    replace_bytes(file, text.encode(), mode=mode)


def update(
    file: Path,
    change: Callable[[bytes | None], bytes],
    *,
    mode: int | None = None,
    patience: float = PATIENCE,
) -> bytes:
    """Replace a file's content by what ``change`` makes of it, and return what was written.

    Reading, ``change`` and writing are one step: no other `update` of the file comes between them. ``change`` receives None
    where there is no file; what it raises leaves the file as it is, so that a precondition is checked there. Raises `OSError`,
    and `TimeoutError` as `locked` does. What was written is kept as the last good content, too. A file that hosts share in a
    database since (`kept_elsewhere`) is not written.
    """
    label = kept_elsewhere(file)
    if label is not None:
        raise OSError(
            errno.EPERM,
            f"hosts share it in {label}; name that with --state, or remove {_elsewhere(file).name} when they no longer do",
            str(file),
        )
    with locked(file, patience=patience):
        try:
            before = read_regular(file)
        except FileNotFoundError:
            before = None
        after = change(before)
        replace_bytes(file, after, mode=mode)
        keep_good(file, after, mode=mode)
    return after


class Home(Protocol):
    """Where the state of models and the keys live: in files, or in a database of which this host has copies in files.

    Readers read files in any case; what changes them is `update`.
    """

    def folder(self, model: str, folder: Path) -> Path:
        """Return the folder from which a model's rules, labels and so on are read, given the model's own."""

    def keys(self, file: Path) -> Path:
        """Return the file from which keys are read, given the one that the operator named."""

    def update(
        self, file: Path, change: Callable[[bytes | None], bytes], *, mode: int | None = None
    ) -> bytes:
        """Change a file of that folder as `update` of this module does."""

    def together(self) -> AbstractContextManager[None]:
        """Make the changes of a block one step, where the home can: all of them are made, or none."""

    def now(self) -> int:
        """Return the time, in microseconds since 1970-01-01 UTC, by the one clock of all who change the state."""

    def close(self) -> None:
        """End what follows a database."""


class InFolders:
    """The home of a host alone: the folders of the models, and the file of keys."""

    def folder(self, model: str, folder: Path) -> Path:
        """Return the model's folder."""
        return folder

    def keys(self, file: Path) -> Path:
        """Return the file."""
        return file

    def update(
        self, file: Path, change: Callable[[bytes | None], bytes], *, mode: int | None = None
    ) -> bytes:
        """Change a file."""
        return update(file, change, mode=mode)

    def together(self) -> AbstractContextManager[None]:
        """Do nothing: files are replaced one after another."""
        return nullcontext()

    def now(self) -> int:
        """Return the time by this host's clock."""
        return time.time_ns() // 1_000

    def close(self) -> None:
        """Do nothing: nothing is open."""


IN_FOLDERS: Final = InFolders()


def keep_elsewhere(file: Path, label: str) -> None:
    """Note beside a file which database holds its content from now on; where nothing can be written, nothing is noted."""
    with suppress(OSError):
        if file.parent.is_dir() and kept_elsewhere(file) != label:
            replace_text(_elsewhere(file), label)


def kept_elsewhere(file: Path) -> str | None:
    """Return which database holds what this file held before hosts came to share it; None where it is the file itself."""
    try:
        return _elsewhere(file).read_text("utf-8")
    except (OSError, ValueError):
        return None


def _elsewhere(file: Path) -> Path:
    return file.with_name(f".{file.name}.shared")


@contextmanager
def locked(path: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of a file or folder, which need not exist; its parent must.

    The lock keeps out other threads, processes, and hosts wherever the file system has locks at all (NFS does). It stands on
    ``.NAME.lock`` beside the path, since a file that is replaced cannot carry it; the lock ends with its process. It is not
    reentrant. Raises `TimeoutError` after ``patience`` seconds and `OSError` where the folder cannot be written to.
    """
    whole = os.path.realpath(path)
    within = _threads[whole]
    end = time.monotonic() + patience
    if not within.acquire(timeout=patience):
        raise _busy(path, patience)
    try:
        beside = os.path.join(os.path.dirname(whole), f".{os.path.basename(whole)}.lock")
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            pause = 0.001
            while not _took(descriptor):
                if time.monotonic() > end:
                    raise _busy(path, patience)
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has the descriptor, too
            os.close(descriptor)
    finally:
        within.release()


def _took(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy(path: Path, patience: float) -> TimeoutError:
    return TimeoutError(
        errno.ETIMEDOUT, f"another writer has held its lock for more than {patience:g} seconds", str(path)
    )


@contextmanager
def writing(file: Path, *, mode: int | None = None, durable: bool = True) -> Iterator[Path]:
    """Yield an empty temporary file; at the end of the block it is on the disk and takes the place of ``file``.

    An exception leaves ``file`` as it was and removes the temporary. A new file has this ``mode`` (0o666 where none is given),
    less the umask; without a mode, a file that is replaced keeps its own. ``durable=False`` does not wait for the disk: for files
    that need not survive a crash. Raises `OSError` when the disk refuses.
    """
    before = file.stat() if file.exists() else None
    sweep(file.parent)
    temporary = _temporary_name(file)
    _being_written.add(temporary)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o666 if mode is None else mode)
        try:
            if mode is None and before is not None:
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        finally:
            os.close(descriptor)
        yield temporary
        if before is not None and temporary.stat().st_mtime_ns <= before.st_mtime_ns:
            # within one tick of the clock, and the inode may be a reused one: the mark must still be another
            os.utime(temporary, ns=(before.st_mtime_ns + 1,) * 2)
        if durable:
            flush(temporary)
        temporary.replace(file)
        if durable:
            flush(file.parent)
    finally:
        temporary.unlink(missing_ok=True)
        _being_written.discard(temporary)


@contextmanager
def writing_folder(folder: Path, *, durable: bool = True, replaces: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder; at the end of the block all in it is on the disk and it takes the name ``folder``.

    An exception removes the temporary; ``durable`` as in `writing`. A folder that ``replaces`` another moves it away first, so
    that for a moment there is none; processes that have files of the old one open keep them. Raises `FileExistsError` where
    ``folder`` exists by then and is not to be replaced, else `OSError` when the disk refuses.
    """
    sweep(folder.parent)
    temporary = _temporary_name(folder)
    _being_written.add(temporary)
    try:
        temporary.mkdir()
        yield temporary
        for path in (*sorted(temporary.rglob("*")), temporary) if durable else ():
            flush(path)
        if folder.is_symlink() or (folder.exists() and not replaces):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        if folder.exists():
            _take_place(temporary, folder)
        else:
            temporary.rename(folder)
        if durable:
            flush(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _being_written.discard(temporary)


def _take_place(newer: Path, folder: Path) -> None:
    """Move a folder to where another is, and remove that one; put it back when the disk refuses."""
    older = _temporary_name(folder)
    _being_written.add(older)
    try:
        folder.rename(older)
        try:
            newer.rename(folder)
        except OSError:
            older.rename(folder)
            raise
        shutil.rmtree(older, ignore_errors=True)
    finally:
        _being_written.discard(older)


def remove_folder(folder: Path) -> None:
    """Remove a folder; it is gone under its name at once, so that no reader finds half of it. Raises `OSError`."""
    older = _temporary_name(folder)
    _being_written.add(older)
    try:
        folder.rename(older)
        flush(folder.parent)
        shutil.rmtree(older)
    finally:
        _being_written.discard(older)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> int:
    """Remove the temporary files and folders of writers that were killed; return how many they were.

    A writer's temporary name holds its machine and process. On this machine a process that does not run has left it; of another
    machine's, those that nothing has changed for a day.
    """
    swept = 0
    with os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for path in found:
        if path in _being_written or not _is_abandoned(path):
            continue
        swept += 1
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    return swept


def is_alive(process: int) -> bool:
    """Return whether a process of this number runs.

    >>> is_alive(os.getpid())
    True
    """
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.writing-{_machine()}-{os.getpid()}-{next(_numbers)}")


def _is_abandoned(path: Path) -> bool:
    match = _TEMPORARY.fullmatch(path.name)
    assert match is not None
    machine, process = match["machine"], int(match["process"])
    if machine in (None, _machine()) and (process == os.getpid() or not is_alive(process)):
        return True
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED
    except OSError:
        return False  # its writer has just finished


def _machine() -> str:
    """Return eight hexadecimal digits for what process numbers count in: this host, and this container of it."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{os.uname().nodename} {namespace}".encode()).hexdigest()[:8]
