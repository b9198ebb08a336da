"""Object stores (S3, Google Cloud Storage, Azure) through obstore: objects are copied here once, then read as files are."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.drivers import driver, translated
from tastemaker.data.reading.files.limits import MOST_FILES
from tastemaker.errors import DatabaseProblem

__all__ = ["copied"]

CHUNK: Final = 8 << 20
"""Bytes of a part of an object"""


def copied(address: Address, write: Callable[[Iterator[bytes], str], Path]) -> list[tuple[Path, str]]:
    """Copy an object, all below a folder (``…/``), or all that a glob names; return the files and what each is called.

    ``write`` keeps the bytes of an object under a name like its own. What lets you in comes from the environment, as the store's
    own tools have it: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``,
    ``AZURE_STORAGE_ACCOUNT_NAME`` and their like. Raises `DatabaseProblem`.
    """
    obstore = driver("obstore", "obstore", address)
    parts = urlsplit(address.uri)
    root, key = f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
    with translated(address):
        store = driver("obstore.store", "obstore", address).from_url(root, **_plain_http(root))
        names = _named(obstore, store, key, address)
        found = []
        for name in names:
            stream = obstore.get(store, name).stream(min_chunk_size=CHUNK)
            found.append((write((bytes(chunk) for chunk in stream), Path(name).name), name))
    return found


def _plain_http(root: str) -> dict[str, Any]:
    """Allow HTTP where the environment names such an end point: a server of one's own."""
    import os

    end = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if not root.startswith("s3://") or not end.startswith("http://"):
        return {}
    return {"endpoint": end, "client_options": {"allow_http": True}}


def _named(obstore: Any, store: Any, key: str, address: Address) -> list[str]:
    """Return the keys that are meant, in the order of their names."""
    magic = min((key.find(sign) for sign in "*?[" if sign in key), default=-1)
    if magic < 0 and key and not key.endswith("/"):
        return [key]
    prefix = (key if magic < 0 else key[:magic]).rpartition("/")[0]
    found: list[str] = []
    for page in obstore.list(store, prefix=prefix or None):
        found += [entry["path"] for entry in page if magic < 0 or fnmatch.fnmatchcase(entry["path"], key)]
        if len(found) > MOST_FILES:
            raise DatabaseProblem(f"{address.label} means more than {MOST_FILES:,} objects; name fewer.")
    found = sorted(name for name in found if not any(part.startswith((".", "_")) for part in name.split("/")))
    if not found:
        raise DatabaseProblem(f"there is no object {address.label}; mend its name.")
    return found
