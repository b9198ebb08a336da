"""What runs leave behind: one JSON line for each, in the order of time; written once whatever happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tastemaker.errors import ModelFolderProblem
from tastemaker.nights.shop_file import ShopFile
from tastemaker.storage import read_regular, update

__all__ = ["FILE", "add_line", "history_of", "last_published"]

FILE = "history.jsonl"

PUBLISHED = ("published",)


def history_of(shop: ShopFile) -> list[dict[str, Any]]:
    """Return the runs of a shop, the oldest first; raise `ModelFolderProblem` where the file is damaged."""
    file = shop.state / FILE
    try:
        lines = read_regular(file).decode().splitlines()
        return [dict(json.loads(line)) for line in lines if line]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise ModelFolderProblem(
            f"{file} is no history of runs ({error}); mend it, or move it away."
        ) from error


def last_published(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last run that published a version, whose figures the next one is compared with."""
    return next((run for run in reversed(runs) if run["outcome"] in PUBLISHED), None)


def add_line(shop: ShopFile, run: Mapping[str, Any]) -> Path:
    """Add a run to the history; whoever reads it sees all of the line or nothing."""
    line = json.dumps(run, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    file = shop.state / FILE
    update(file, lambda before: (before or b"") + line)
    return file
