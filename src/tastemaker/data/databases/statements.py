"""What is asked of a database: a query as it was given, or all of one table."""

from __future__ import annotations

from tastemaker.data.databases.address import Address
from tastemaker.errors import DatabaseProblem

__all__ = ["asked_of", "described", "quoted"]


def quoted(table: str, sign: str = '"') -> str:
    """Return a table's name, perhaps with its schema, as SQL spells it.

    >>> quoted("shop.Orders")
    '"shop"."Orders"'
    """
    return ".".join(sign + part.replace(sign, 2 * sign) + sign for part in table.split("."))


def asked_of(address: Address, query: str | None, table: str | None) -> str:
    """Return the statement that reads a log; raise `DatabaseProblem` unless one query or table is named."""
    if address.table is not None:
        query, table = None, address.table  # an address that names its table means it
    if query is not None and table is not None:
        raise DatabaseProblem(
            f"of {address.label} a query and the table {table!r} were named; name one of them."
        )
    if query is not None:
        return query.strip().rstrip(";")
    if table is None:
        raise DatabaseProblem(
            f"{address.label} is a database; say what is read of it: --table orders, or --query 'SELECT user_id, …'."
        )
    return f"SELECT * FROM {quoted(table, '`' if address.kind == 'mysql' else chr(34))}"


def described(address: Address, query: str | None, table: str | None) -> str:
    """Return what messages call a log in a database."""
    if query is not None and address.table is None:
        return f"the query of {address.label}"
    return f"the table {address.table or table!r} of {address.label}"
