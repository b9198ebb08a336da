"""What the benchmarks share: workers that take turns, medians, Markdown tables, and one way to say what is missing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

ASOS_USERS, ASOS_PRODUCTS, ASOS_PURCHASES = 43_607, 29_696, 165_042


def missing(sentence: str) -> NoReturn:
    """Say what a benchmark needs, in one sentence, and exit with 2."""
    print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    sys.exit(2)


def parser_of(text: str | None, **defaults: int) -> argparse.ArgumentParser:
    """Return a parser with a whole-number option for each default, such as ``threads=2``."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value:,}")
    return parser


# Data -------------------------------------------------------------------------------------------------------


ASOS_LOG = "dsf_asos_train_with_alphanumeric_dummy_ids.parquet"


def add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="the folder that holds asos/ (default: TASTEMAKER_DATA)")
    parser.add_argument("--synthetic", action="store_true", help="a synthetic shop of ASOS's size instead")


def read_log(options: argparse.Namespace) -> Any:
    """Return the ASOS purchases over their catalogues, or those of a synthetic shop of the same size."""
    import tastemaker as tm

    if options.synthetic:
        return tm.make_shop(users=ASOS_USERS, products=ASOS_PRODUCTS, purchases=ASOS_PURCHASES).purchases
    folder = asos_folder(options.data)
    return tm.read_purchases(
        folder / ASOS_LOG,
        users=folder / "dsf_asos_dummy_users_with_alphanumeric_dummy_ids.csv",
        products=folder / "dsf_asos_productIds.csv",
    )


def asos_folder(data: Path | None) -> Path:
    """Return the folder with ASOS's files, given the folder that holds it or itself."""
    folder = data_folder(data)
    folder = folder / "asos" if (folder / "asos").is_dir() else folder
    if not (folder / ASOS_LOG).is_file():
        missing(
            f"there is no {ASOS_LOG} in {folder}; fetch it with `tastemaker fetch asos --into DIR` and give "
            "`--data DIR`, or take `--synthetic` where it is offered."
        )
    return folder


def data_folder(given: Path | None) -> Path:
    """Return the folder of the data sets: the one given, or that of TASTEMAKER_DATA."""
    return given or Path(os.environ.get("TASTEMAKER_DATA", ROOT.parent / "shared" / "data"))


# Workers ----------------------------------------------------------------------------------------------------


def thread_environment(threads: int, **more: int) -> dict[str, str]:
    """Return this process's environment with every library's number of threads set, and nothing else changed."""
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "POLARS_MAX_THREADS",
    )
    counts = dict.fromkeys(names, threads) | more
    return dict(os.environ) | {name: str(count) for name, count in counts.items()}


class Worker:
    """A process that answers one JSON line with another, so that several can take turns in one run.

    It may answer ``{"missing": sentence}``, upon which the benchmark says so and ends.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        """Return its number as a process."""
        return self._process.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, **question: Any) -> dict[str, Any]:
        """Send a question and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended with an answer, or without one
        line = self._process.stdout.readline()
        if not line:
            missing(
                f"a worker ended with code {self._process.wait()} and no answer; its messages stand above."
            )
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            missing(answer["missing"])
        return answer


@contextmanager
def questions() -> Iterator[tuple[Callable[[], dict[str, Any]], Callable[..., None]]]:
    """In a worker: yield the function that waits for a question, and the one that answers it.

    What libraries print on stdout goes to stderr, so that it is no answer. When nobody asks any more, the worker ends.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def answer(**values: Any) -> None:
            answers.write(json.dumps(values) + "\n")
            answers.flush()

        def wait() -> dict[str, Any]:
            line = sys.stdin.readline()
            if not line:
                sys.exit(0)
            return dict(json.loads(line))

        yield wait, answer


# Numbers ----------------------------------------------------------------------------------------------------


def processor_seconds(process: int) -> float:
    """Return what the threads of a process have used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(values: Sequence[float], digits: int = 2, factor: float = 1.0) -> str:
    """Write a median with its range: ``0.41 (0.40–0.44)``."""
    low, middle, high = (
        f"{factor * x:,.{digits}f}" for x in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low}–{high})"


def ratios(slow: Iterable[float], fast: Iterable[float]) -> list[float]:
    """Return the ratio of each pair of neighbours in time: noise that hits both cancels."""
    return [one / other for one, other in zip(slow, fast, strict=True)]


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    lines = [
        list(header),
        ["---"] + ["--:"] * (len(header) - 1),
        *([str(cell) for cell in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Return one line on where and with what the numbers were measured."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    packages = []
    for package in ("tastemaker", "numpy", "numba", "polars"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    load = f"load before it {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    where = f"{name}, {os.cpu_count()} processors"
    return (
        "; ".join(filter(None, [where, f"Python {platform.python_version()}, {', '.join(packages)}", load]))
        + "."
    )


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays where a worker with another interpreter can read them."""
    np.savez(path, **arrays)
