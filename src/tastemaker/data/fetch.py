"""Fetching the public data that the workshop used: four files of ASOS purchases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tastemaker.errors import UnreadableFile

__all__ = ["ASOS_FILES", "ASOS_FOLDER", "ASOS_SOURCE", "OnProgress", "fetch_asos"]

ASOS_SOURCE: Final = (
    "https://raw.githubusercontent.com/ASOS/dsf2020/979e692487bbbda7d762688272f2779b3a232768/"
)
"""The retailer's own repository, at the commit whose files have the checksums below."""

ASOS_FILES: Final = {
    "dsf_asos_train_with_alphanumeric_dummy_ids.parquet": (
        "d96096d61aff5ff2ffd2ca868ada0c3e8f13ea54a792a68770a0340a29410427"
    ),
    "dsf_asos_valid_with_alphanumeric_dummy_ids.parquet": (
        "f4dbf22c933d4268b1ef596ced133ee92f02f13a1e8872c5ce620a1459233fc1"
    ),
    "dsf_asos_dummy_users_with_alphanumeric_dummy_ids.csv": (
        "9c524aed767df81ec204acad7b8ce243397e5c7e04761c83486b62b2004ac145"
    ),
    "dsf_asos_productIds.csv": "160c762fd03a63629fb22885734e94783434afbcb1dd3fd693838368f1a23a31",
}
"""File name → SHA-256."""

ASOS_FOLDER: Final = Path("data") / "asos"
"""Where the files go unless told otherwise, below the current folder."""

PATIENCE: Final = 30
"""Seconds without a byte after which the server counts as silent."""

OnProgress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes received and the bytes expected (0 when the server does not say)."""


def fetch_asos(into: Path | str | None = None, *, on_progress: OnProgress | None = None) -> Path:
    """Download the ASOS files that are not there yet, verify all of them, and return their folder.

    A file that is there with the right SHA-256 is left alone, and one with another is replaced. A file
    appears under its name only when it is whole and verified. Without ``into`` the folder is ``data/asos``
    below the current one. Raises `UnreadableFile` when a file cannot be fetched, is not the one expected or
    cannot be written; files verified before stay.
    """
    folder = ASOS_FOLDER if into is None else Path(into)
    for name, checksum in ASOS_FILES.items():
        _fetch(name, checksum, folder, on_progress)
    return folder


def _fetch(name: str, checksum: str, folder: Path, on_progress: OnProgress | None) -> None:
    import pooch
    from requests.exceptions import RequestException

    bar = None if on_progress is None else _Bar(name, on_progress)
    shelf = pooch.create(folder, base_url=ASOS_SOURCE, registry={name: checksum})
    remedy = f"Download it by hand and put it into {folder}, or try again later."
    try:
        with _quiet(pooch.get_logger()):
            shelf.fetch(name, downloader=pooch.HTTPDownloader(progressbar=bar, timeout=PATIENCE))
    except RequestException as error:
        raise UnreadableFile(
            f"{name} could not be fetched from {ASOS_SOURCE}{name} ({_cause(error)}). {remedy}"
        ) from error
    except ValueError as error:
        raise UnreadableFile(
            f"{ASOS_SOURCE}{name} is not the file expected: its SHA-256 is not {checksum}. {remedy}"
        ) from error
    except OSError as error:
        raise UnreadableFile(
            f"{name} cannot be written into {folder} ({error.strerror or error}); "
            "name another folder with --into DIR."
        ) from error
    with suppress(OSError):
        (folder / name).chmod(0o644)  # a finished download would keep the mode of a private temporary file


def _cause(error: Exception) -> str:
    """Say in a few words what a network error was; the libraries nest it in a page of their own words."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, exceptions.Timeout):
        return f"no answer within {PATIENCE} s"
    if isinstance(error, exceptions.SSLError):
        return "no trusted connection"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return "no connection; is there a network?"


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from announcing its work on stderr, which belongs to the caller."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Bar:
    """The progress bar that pooch asks for; it reports to a function."""

    def __init__(self, name: str, on_progress: OnProgress) -> None:
        self.name, self.on_progress = name, on_progress
        self.total = self.done = 0

    def update(self, received: int) -> None:
        self.done += received
        # pooch counts in whole chunks, so the last one overshoots.
        self.on_progress(self.name, min(self.done, self.total) if self.total else self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass
