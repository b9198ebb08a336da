"""The clean API under ``/api/v1``."""

from __future__ import annotations

from starlette.routing import Route

__all__ = ["routes"]


def routes() -> list[Route]:
    """Return the routes of the API."""
    return []
