"""What a server answers: ``python benchmarks/serving.py [--model FOLDER] [--synthetic]``.

The load comes from wrk on loopback: some connections, each of which asks as soon as it has its answer. Users and products are
drawn at random, and nothing is cached. Constant answers of the same bytes, by the same server through the same gate, take turns
with the real ones: a share is of the constant answer beside it. Then fresh servers: the time from their start until they are
ready, and the memory of one worker and of four, after they have answered all kinds of requests.

Without ``--model`` a model of the ASOS purchases (or of ``--synthetic``) is trained first. ``--before FOLDER`` starts a server of
another version, too, from its checkout, and compares nothing but what an answer costs in both, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import (
    add_data_options,
    machine,
    markdown,
    missing,
    parser_of,
    processor_seconds,
    ratios,
    read_log,
    spread,
)

HERE = Path(__file__).parent
PREDICT = "/v1/models/recommender:predict"
REQUESTS = 20_000
"""The requests drawn beforehand for each kind"""
LATE = 1.4
"""The most that the 99th percentile may be, in medians"""
START_SECONDS = 2.0
MORE_MEMORY, MEBIBYTES_A_WORKER = 1.5, 80


@dataclass(frozen=True)
class Kind:
    """One row of the table: whom it asks, and the least share of constant answers that is wanted."""

    title: str
    name: str
    of: str
    wanted: float


KINDS = (
    Kind("`recommend_user`, 10 products", "user", "users", 0.60),
    Kind("`/api/v1` recommendations, 10 products", "api-user", "users", 0.60),
    Kind("`call_item_item`, 100 products", "item", "products", 0.60),
    Kind("`similar_products`, 10 products", "similar", "products", 0.60),
    Kind("`/api/v1` similar, 10 products", "api-similar", "products", 0.60),
)


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve_with_constants(*sys.argv[2:])
        return
    parser = parser_of(__doc__, rounds=4, seconds=2, connections=16, workers=1, starts=3)
    parser.add_argument("--model", type=Path, help="a model's version folder")
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    add_data_options(parser)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        missing("wrk, which makes the load, is not installed; `apt-get install wrk` does it on Debian.")
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch) / "models"
        put_model(models, options)
        draw_requests(models, Path(scratch))
        if options.before is not None:
            print_pairs(models, Path(scratch), options)
        else:
            print_throughput(models, Path(scratch), options)
            print()
            print_start_and_memory(models, Path(scratch), options)
    print(f"\n{machine()}")


def put_model(models: Path, options: argparse.Namespace) -> None:
    import tastemaker as tm

    target = models / "recommender" / "1"
    if options.model is not None:
        target.parent.mkdir(parents=True)
        target.symlink_to(options.model.resolve())
    else:
        tm.save(tm.train(read_log(options), tm.preset("default")), target)


def draw_requests(models: Path, folder: Path) -> None:
    """Write the requests of each kind, and the same ones for constant answers in their place."""
    import tastemaker as tm

    model = tm.load(models / "recommender" / "1")
    ids = {"users": model.users.ids.to_list(), "products": model.products.ids.to_list()}
    draw = random.Random(1)
    for kind in KINDS:
        drawn = [request_of(kind, id) for id in draw.choices(ids[kind.of], k=REQUESTS)]
        for name, path in ((kind.name, None), (f"constant-{kind.name}", f"/constant/{kind.name}")):
            lines = ["\t".join((method, path or own, body)) for method, own, body in drawn]
            (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


def request_of(kind: Kind, asked: Any) -> tuple[str, str, str]:
    """Return the method, the path and the body of a request for one user or product."""
    place = urllib.parse.quote(str(asked), safe="")
    if kind.name == "api-user":
        return "GET", f"/api/v1/recommendations/users/{place}", ""
    if kind.name == "api-similar":
        return "GET", f"/api/v1/products/{place}/similar", ""
    signature = {"user": "recommend_user", "similar": "similar_products", "item": "call_item_item"}[kind.name]
    return "POST", PREDICT, json.dumps({"signature_name": signature, "inputs": asked})


# What is measured -------------------------------------------------------------------------------------------


def print_throughput(models: Path, folder: Path, options: argparse.Namespace) -> None:
    names = [name for kind in KINDS for name in (f"constant-{kind.name}", kind.name)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    command = [sys.executable, __file__, "--serve", str(models), str(options.workers), str(folder)]
    with serving(command, folder) as (address, process):
        wait_for_neighbours(process)
        for kind in KINDS:
            write_constant(address, folder, kind)
        for number in range(options.rounds + 1):
            for name in names:
                before = server_seconds(process.pid)
                seconds = options.seconds if number else 1
                run = load(address, folder / f"{name}.tsv", options.connections, seconds)
                run["cost"] = (server_seconds(process.pid) - before) / run["requests"]
                if number:
                    found[name].append(run)
    print(
        markdown(HEADER, [row_of(kind, found[kind.name], found[f"constant-{kind.name}"]) for kind in KINDS])
    )
    print(
        f"\n{options.workers} worker(s), {options.connections} connections, {options.rounds} rounds of {options.seconds} s, "
        "in turns; median (least–greatest). Processor time is that of all threads of the server, in brackets for a constant "
        "answer. Every answer was of status 200."
    )


def print_pairs(models: Path, folder: Path, options: argparse.Namespace) -> None:
    """Print the processor time an answer of this version and of another, whose servers take turns."""
    names = [name for kind in KINDS for name in (f"constant-{kind.name}", kind.name)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    before = {"PYTHONPATH": str(options.before.resolve() / "src")}
    command = [sys.executable, __file__, "--serve", str(models), str(options.workers), str(folder)]
    with serving(command, folder) as mine, serving(command, folder, before) as other:
        for _, process in (mine, other):
            wait_for_neighbours(process)
        for kind in KINDS:
            write_constant(mine[0], folder, kind)
        for number in range(options.rounds + 1):
            for name in names:
                costs = {}
                for address, process in (mine, other) if number % 2 else (other, mine):
                    start = server_seconds(process.pid)
                    run = load(address, folder / f"{name}.tsv", options.connections, options.seconds)
                    costs[address] = (server_seconds(process.pid) - start) / run["requests"] * 1e6
                if number:
                    found[name].append((costs[mine[0]], costs[other[0]]))
    rows = []
    for name, pairs in found.items():
        now, then = ([pair[place] for pair in pairs] for place in (0, 1))
        rows.append([name, spread(now, 0), spread(then, 0), spread(ratios(now, then))])
    print(markdown(["processor µs an answer", "this version", "the other", "ratio"], rows))


HEADER = (
    "answers a second", "", "constant", "share", "at least", "processor µs an answer", "median ms", "p99 ms",
    f"p99 / median, at most {LATE}",
)  # fmt: skip


def row_of(kind: Kind, mine: list[dict[str, float]], constant: list[dict[str, float]]) -> list[str]:
    rates, most = ([run["rate"] for run in both] for both in (mine, constant))
    cost, least = (statistics.median(run["cost"] for run in both) * 1e6 for both in (mine, constant))
    median, late = (statistics.median(run[name] for run in mine) for name in ("p50", "p99"))
    return [
        kind.title, spread(rates, 0), spread(most, 0), spread(ratios(rates, most)), f"{kind.wanted:.2f}",
        f"{cost:.0f} ({least:.0f})", f"{median:.1f}", f"{late:.1f}", f"{late / median:.1f}",
    ]  # fmt: skip


def server_seconds(process: int) -> float:
    """Return what the threads of a server's processes have used so far."""
    return sum(processor_seconds(worker) for worker in (process, *descendants(process)))


def load(address: str, requests: Path, connections: int, seconds: int) -> dict[str, float]:
    """Send requests for a number of seconds; return answers a second, and milliseconds of the median and of the 99th percentile."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(HERE / "requests.lua"), address, "--", str(requests), str(time.time_ns() % 2**31)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30)
    told = json.loads(ran.stdout.splitlines()[-1])
    if told["errors"] or not told["requests"]:
        missing(
            f"of {told['requests']} requests of {requests.stem}, {told['errors']} failed; the server's log says why."
        )
    return {
        "requests": told["requests"],
        "rate": told["requests"] / told["duration"] * 1e6, "p50": told["p50"] / 1e3, "p99": told["p99"] / 1e3
    }  # fmt: skip


def print_start_and_memory(models: Path, folder: Path, options: argparse.Namespace) -> None:
    starts: list[float] = []
    memory: dict[int, tuple[float, float]] = {}
    for workers in (*[1] * options.starts, 4):
        began = time.perf_counter()
        command = [sys.executable, "-m", "tastemaker", "serve", str(models)]
        command += ["--port", "0", "--quiet", "--workers", str(workers)]
        with serving(command, folder) as (address, process):
            fetch(f"{address}/readyz")
            if workers == 1:
                starts.append(time.perf_counter() - began)
                if len(starts) < options.starts:
                    continue
            wait_for_neighbours(process)
            for kind in KINDS:
                load(address, folder / f"{kind.name}.tsv", 32, 1)
            fetch(f"{address}/metrics")
            memory[workers] = memory_of(process.pid)
    allowed = MORE_MEMORY * memory[1][0] + 4 * MEBIBYTES_A_WORKER
    rows = [
        ["start until ready, s", spread(starts), f"{START_SECONDS:.0f}"],
        ["memory of one worker, MiB", f"{memory[1][0]:.0f}", ""],
        ["memory of four workers and their parent, MiB", f"{memory[4][0]:.0f}", f"{allowed:.0f}"],
    ]
    print(markdown(["a fresh server", "measured", "allowed"], rows))
    print(
        "\nMemory after all kinds of requests, pages that processes share counted once (PSS); the sum of what each process maps "
        f"(RSS) is {memory[1][1]:.0f} MiB and {memory[4][1]:.0f} MiB. The kernels are compiled "
        "already, the files in the system's cache."
    )


def memory_of(process: int) -> tuple[float, float]:
    """Return the PSS and the RSS of a process and all its descendants, MiB."""
    pss = rss = 0
    for worker in (process, *descendants(process)):
        for line in Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            pss += int(value.split()[0]) if name == "Pss" else 0
            rss += int(value.split()[0]) if name == "Rss" else 0
    return pss / 1024, rss / 1024


def descendants(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def wait_for_neighbours(process: subprocess.Popen[str]) -> None:
    """Wait until the process that works out the neighbours of all products has been and gone, and all workers have seen it."""
    end = time.monotonic() + 120
    seen = quiet = 0
    while time.monotonic() < end and quiet < (15 if seen else 40):
        busy = any(is_neighbours(worker) for worker in descendants(process.pid))
        seen, quiet = seen or busy, 0 if busy else quiet + 1
        time.sleep(0.1)


def is_neighbours(process: int) -> bool:
    try:
        return b"tastemaker.serving.models.neighbour_table" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def fetch(url: str, body: str | None = None) -> bytes:
    asked = urllib.request.Request(url, body.encode() if body else None, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=20) as answer:
        content: bytes = answer.read()
    return content


@contextmanager
def serving(
    command: list[str], folder: Path, environment: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server, with some variables of its own; yield its address once it says that it serves."""
    log = folder / "server.log"
    own = os.environ | (environment or {})
    with log.open("a") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=own)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            missing(f"the server ended before it was ready: {log.read_text()[-2000:]}")
        yield line.split()[-1], process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


# The server, with constant answers beside the real ones -----------------------------------------------------


def write_constant(address: str, folder: Path, kind: Kind) -> None:
    """Keep a real answer as the constant one."""
    method, path, body = (folder / f"{kind.name}.tsv").read_text().split("\n", 1)[0].split("\t")
    (folder / f"{kind.name}.json").write_bytes(fetch(address + path, body if method == "POST" else None))


def serve_with_constants(models: str, workers: str, folder: str) -> None:
    from functools import cache

    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

    from tastemaker.serving import app, server
    from tastemaker.serving.front.settings import Settings

    @cache
    def content(name: str) -> bytes:
        return (Path(folder) / f"{name}.json").read_bytes()

    class Constant:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            body = content(scope["path_params"]["name"])
            headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    usual = app.routes_of  # the first routes that are tried
    app.routes_of = lambda operations: [
        Route("/constant/{name}", Constant(), methods=["GET", "POST"]),
        *usual(operations),
    ]
    settings = Settings(models=Path(models), port=0, workers=int(workers), log_requests=False)
    server.serve(settings, lambda address, _: print(address, flush=True))


if __name__ == "__main__":
    main()
