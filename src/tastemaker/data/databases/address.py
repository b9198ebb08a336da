"""`Address`: where a table of a database, or an object of a store, lies; it never shows a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from tastemaker.errors import DatabaseProblem

__all__ = ["Address", "Kind", "address_of", "is_address", "without_secrets"]

Kind = Literal["postgresql", "mysql", "sqlite", "duckdb", "store"]

SCHEMES: Final[dict[str, Kind]] = {
    "postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql",
    "sqlite": "sqlite", "duckdb": "duckdb",
    "s3": "store", "gs": "store", "az": "store",
}  # fmt: skip

_ADDRESS: Final = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)

_SIGNED_IN: Final = re.compile(r"(?<=://)[^/\s?#'\"]*@")
"""User and password of a URI"""

_SECRET_OPTION: Final = re.compile(
    r"((?:password|passfile|sslpassword|sslkey|token|secret|signature|sig|x-amz-[\w-]+)\s*=\s*)[^\s&'\"]+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A database with, perhaps, one of its tables; or the objects of a store."""

    kind: Kind
    uri: str = field(repr=False)
    """With everything that it takes to get in; for the driver alone"""
    label: str
    """What messages call it: without user, password and options"""
    table: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that no message may hold"""

    @property
    def file(self) -> Path:
        """Return the file of an SQLite or DuckDB address."""
        return Path(unquote(self.uri.split("://", 1)[1].removeprefix("/")))

    def safe(self, text: str) -> str:
        """Return a driver's message in one line, without what nobody may read."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return " ".join(without_secrets(text).split())


def is_address(place: object) -> bool:
    """Return whether a text names a database or an object store, and no file.

    >>> is_address("postgresql://db/shop"), is_address("sales.csv"), is_address("C:/sales.csv")
    (True, False, False)
    """
    return isinstance(place, str) and _ADDRESS.match(place) is not None


def without_secrets(text: str) -> str:
    """Return a text with users, passwords and secret options of URIs left out.

    >>> without_secrets("cannot reach postgresql://ann:s3cret@db/shop?password=x&sslmode=require")
    'cannot reach postgresql://…@db/shop?password=…&sslmode=require'
    """
    return _SECRET_OPTION.sub(r"\1…", _SIGNED_IN.sub("…@", text))


def address_of(text: str) -> Address:
    """Return where a URI points.

    A table may stand behind ``#``, or as the second part of the path of a server: ``postgresql://db/shop/orders``. Behind
    ``sqlite:///`` and ``duckdb:///`` stands a file; a fourth stroke begins an absolute path. Raises `DatabaseProblem`.

    >>> address_of("postgresql://ann:s3cret@db/shop/orders")
    Address(kind='postgresql', label='postgresql://db/shop', table='orders')
    >>> address_of("sqlite:////var/shop.db#orders").file.as_posix()
    '/var/shop.db'
    """
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise DatabaseProblem(
            f"{without_secrets(text)} is no address that can be read; its form is postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
            "with signs such as @ : / in the password as %40 %3A %2F."
        ) from None
    kind = SCHEMES[parts.scheme.lower()]
    if kind == "store":
        return Address(kind, text, without_secrets(text), secrets=_secrets(parts))
    bare = text.split("#", 1)[0]
    table = unquote(parts.fragment) or None
    path = unquote(parts.path).removeprefix("/")
    if kind in ("sqlite", "duckdb"):
        if parts.netloc or not path:
            raise DatabaseProblem(
                f"{without_secrets(text)} names no file; write {kind}:///shop.db, or {kind}:////var/shop.db for an absolute path."
            )
        return Address(kind, bare, f"{kind}:///{path}", table)
    database, _, inside = path.partition("/")
    if inside:
        if table is not None or "/" in inside.strip("/"):
            raise DatabaseProblem(
                f"{without_secrets(text)} names more than one table; name one behind the database."
            )
        table = inside.strip("/")
        bare = parts._replace(path=f"/{parts.path.split('/')[1]}", fragment="").geturl()
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return Address(kind, bare, f"{kind}://{host}{port}/{database}", table, _secrets(parts))


def _secrets(parts: SplitResult) -> tuple[str, ...]:
    options = [
        value
        for name, value in parse_qsl(parts.query)
        if re.search("pass|key|token|secret|sig", name, re.IGNORECASE)
    ]
    found = [text for text in (parts.password, *options) if text]
    return tuple(
        dict.fromkeys(spelled for text in found for spelled in (unquote(text), text) if len(spelled) > 2)
    )
