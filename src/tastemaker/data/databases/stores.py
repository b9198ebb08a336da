"""Object stores (S3, Google Cloud Storage, Azure) through obstore: objects are copied here once, then read as files are."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tastemaker.data.databases.address import Address
from tastemaker.data.databases.drivers import driver, translated
from tastemaker.data.reading.files.limits import MOST_FILES
from tastemaker.errors import DatabaseProblem

__all__ = ["Objects", "Stored", "copied"]

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


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says of an object."""

    size: int
    etag: str
    """Another one means another content"""


class Objects:
    """The objects below an address, such as ``s3://bucket/models``; they are named by their paths from there."""

    def __init__(self, address: Address) -> None:
        """Raise `DatabaseProblem` where the address is of no store, or its driver is missing."""
        if address.kind != "store":
            raise DatabaseProblem(f"{address.label} is no object store; give s3://, gs:// or az://.")
        self._address, self.label = address, address.label
        self._obstore = driver("obstore", "obstore", address)
        parts = urlsplit(address.uri)
        root, key = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
        self._prefix = f"{key}/" if key else ""
        with translated(address):
            self._store = driver("obstore.store", "obstore", address).from_url(root, **_plain_http(root))

    def listed(self) -> dict[str, Stored]:
        """Return all objects; raise `DatabaseProblem`."""
        found: dict[str, Stored] = {}
        with translated(self._address):
            for page in self._obstore.list(self._store, prefix=self._prefix or None):
                for entry in page:
                    path = str(entry["path"]).removeprefix(self._prefix)
                    etag = str(entry.get("e_tag") or f"{entry['size']} {entry['last_modified']}")
                    found[path] = Stored(int(entry["size"]), etag)
                if len(found) > MOST_FILES:
                    raise DatabaseProblem(
                        f"{self.label} means more than {MOST_FILES:,} objects; name a folder of fewer."
                    )
        return found

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the content of an object in parts; raise `DatabaseProblem`."""
        with translated(self._address):
            for chunk in self._obstore.get(self._store, f"{self._prefix}{path}").stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
