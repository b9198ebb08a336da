"""A catalogue of a database or an object store, copied into a file again and again by a process of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from tastemaker.errors import TastemakerError
from tastemaker.serving.aside import aside
from tastemaker.serving.front.settings import Settings

__all__ = ["copied"]

log = logging.getLogger("tastemaker.catalogue")

NAME = "products.parquet"


@contextlib.contextmanager
def copied(settings: Settings, scratch: Path) -> Iterator[Settings]:
    """Yield settings whose catalogue is a file that follows the address they name; raise `ServerProblem` where it cannot."""
    if settings.catalogue_address is None:
        yield settings
        return
    file = scratch / NAME
    order = {"address": settings.catalogue_address, "file": str(file), "seconds": settings.catalogue_every}
    with aside(__name__, order, "the catalogue"):
        yield replace(settings, catalogue=file)


def main() -> None:
    """Copy until the server ends, which ends the standard input, too."""
    from tastemaker.data.databases.address import without_secrets
    from tastemaker.serving.front.logs import log_in_json, now_said

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    log_in_json()
    order = json.loads(sys.stdin.readline())
    address, file, seconds = order["address"], Path(order["file"]), float(order["seconds"])
    try:
        content = _copy(address, file, b"")
    except TastemakerError as error:
        print(json.dumps(str(error)), flush=True)
        return
    read = time.time()
    print(json.dumps(None), flush=True)
    while not select.select([sys.stdin], [], [], seconds)[0]:
        try:
            content = _copy(address, file, content)
            read = time.time()
        except (TastemakerError, OSError) as error:
            facts = {"error": without_secrets(str(error)), "read": now_said(read)}
            log.warning("the catalogue cannot be read; what was read last holds", extra={"facts": facts})


def _copy(address: str, file: Path, before: bytes) -> bytes:
    """Write the catalogue into a file, unless it is what it was; return the SHA-256 of its content."""
    from tastemaker.data.reading.catalogues import id_column
    from tastemaker.data.reading.columns import Columns
    from tastemaker.data.reading.product_table import as_guessed
    from tastemaker.data.reading.sources import open_source

    opened = open_source(address, columns=Columns())
    name = id_column(opened, "product", None)
    frame = opened.select(list(opened.names)).collect()
    if opened.is_text:
        frame = frame.with_columns([as_guessed(series) for series in frame.drop(name).iter_columns()])
    frame = frame.sort(
        name, maintain_order=True
    )  # a database promises no order, and another order is no news
    fresh = file.with_suffix(".fresh")
    frame.write_parquet(fresh)
    content = sha256(fresh.read_bytes()).digest()
    if content == before:
        fresh.unlink()
    else:
        fresh.replace(file)
    return content


if __name__ == "__main__":
    main()
