"""Ids of lists: sixteen characters that say which list it was, and whether any server made them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b

from tastemaker.types import Rows

__all__ = ["is_list_id", "list_id"]

DIGEST, CHECK = 9, 3
LENGTH = (DIGEST + CHECK) * 4 // 3


def list_id(label: str, whom: object, rows: Rows) -> str:
    """Return the id of a list: of the products at ``rows``, ``int32[K]``, that a version showed to somebody.

    ``label`` is the version's (``NAME/VERSION``), ``whom`` what the request named. The same list has the same id on every worker
    and host, so that caches and ETags hold. Three of its twelve bytes check the others.
    """
    digest = blake2b(f"{label}\0{whom}\0".encode(), digest_size=DIGEST)
    digest.update(rows.tobytes())
    body = digest.digest()
    return urlsafe_b64encode(body + _check(body)).decode()


def is_list_id(text: str) -> bool:
    """Return whether `list_id` may have made this text; one in 16 million others passes, too.

    >>> import numpy as np
    >>> made = list_id("shop/1", "u1", np.array([3, 1], np.int32))
    >>> is_list_id(made), is_list_id(made[:-1] + "?"), is_list_id("spring sale list")
    (True, False, False)
    """
    if len(text) != LENGTH or not text.isascii():
        return False
    try:
        content = urlsafe_b64decode(text)
    except Error:
        return False
    return len(content) == DIGEST + CHECK and _check(content[:DIGEST]) == content[DIGEST:]


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=CHECK, person=b"tastemaker list").digest()
