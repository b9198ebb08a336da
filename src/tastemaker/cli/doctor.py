"""``tastemaker doctor``: whether this machine can do the work."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tastemaker.cli.terminal.console import output, print_json, size
from tastemaker.cli.terminal.options import AsJson
from tastemaker.errors import TastemakerError

__all__ = ["doctor"]

PACKAGES = (
    *("tastemaker", "numpy", "numba", "llvmlite", "polars", "typer", "rich", "pooch"),
    *("starlette", "uvicorn", "orjson", "msgspec", "prometheus-client", "jinja2"),  # what serving needs
    "fastexcel",  # and what some logs need to be read
    *(("backports.zstd",) if sys.version_info < (3, 14) else ()),
    *(("isal",) if platform.machine() in ("x86_64", "AMD64", "aarch64", "arm64") else ()),
)


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has, compile and check the kernels, and name what is wrong.

    Exits with 1 when something would keep tastemaker from working.
    """
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "threads": _threads(),
        "memory_bytes": _memory(),
        "kernel_cache": str(_cache_folder()),
        "kernels": _check_kernels(),
    }
    problems = [f"{name} is not installed" for name, found in facts["packages"].items() if found is None]
    if facts["kernels"] != "agree with NumPy":
        problems.append(f"the kernels are wrong: {facts['kernels']}")
    facts["problems"] = problems
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if problems:
        raise TastemakerError(f"{len(problems)} problem(s): {'; '.join(problems)}.")


def _print(facts: dict[str, Any]) -> None:
    console = output()
    console.print(
        f"Python {facts['python']} on {facts['system']}, {facts['threads']} threads, {size(facts['memory_bytes'])}"
    )
    console.print(
        "  ".join(f"{name} {found or 'MISSING'}" for name, found in facts["packages"].items()), soft_wrap=True
    )
    console.print(f"Compiled kernels are kept in {facts['kernel_cache']}", soft_wrap=True)
    console.print(f"Kernels: {facts['kernels']}")
    if not facts["problems"]:
        console.print("All is well.")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _threads() -> int:
    from tastemaker.kernels.threads import default_threads

    return default_threads()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _cache_folder() -> Path:
    from tastemaker.kernels.ranking.topk import rank

    return Path(rank.stats.cache_path)  # type: ignore[attr-defined]


def _check_kernels() -> str:
    import numpy as np

    from tastemaker.ranking.top_k import Candidates, top_k

    rng = np.random.default_rng(0)
    queries, vectors = (
        rng.normal(size=(5, 8)).astype(np.float32),
        rng.normal(size=(3000, 8)).astype(np.float32),
    )
    found = top_k(queries, Candidates.of(vectors), 10).rows.reshape(5, 10)
    wanted = np.argsort(-(queries.astype(np.float64) @ vectors.T), axis=1, kind="stable")[:, :10]
    return "agree with NumPy" if np.array_equal(found, wanted) else "top_k differs from NumPy"
