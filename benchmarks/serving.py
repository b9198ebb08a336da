"""What a server answers: ``python benchmarks/serving.py [--model FOLDER] [--synthetic]``.

One server and one load generator on loopback, in a process of its own, with so many connections that each ask as soon as they
have their answer. Constant answers of the same size, by the same server, take turns with `recommend` (users drawn at random,
nothing cached), `similar` (products drawn at random) and the call of the workshop, `call_item_item`; the share of a row is of the
constant answer beside it. Then the start until the first answer, and the memory of one worker and of four, each page counted once.

Without ``--model`` a model of the ASOS purchases (or of ``--synthetic``) is trained first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from common import add_data_options, machine, markdown, parser_of, read_log, spread

PREDICT = "/v1/models/recommender:predict"
REQUESTS = 4000
"""So many different requests are made beforehand and asked in turn"""
KINDS = {
    "recommend, k = 10": ("recommend", 10, 0.35),
    "similar, k = 10": ("similar", 10, 0.60),
    "`call_item_item`, 100 products": ("item_item", 100, 0.60),
}


def main() -> None:
    if sys.argv[1:2] == ["--load"]:
        load(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["--serve"]:
        serve_with_constants(*sys.argv[2:])
        return
    parser = parser_of(__doc__, rounds=5, connections=16, workers=1, seconds=3)
    parser.add_argument("--model", type=Path, help="a model's version folder")
    add_data_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch) / "models"
        put_model(models, options)
        requests = write_requests(models, Path(scratch))
        print_throughput(models, requests, options)
        print()
        print_start_and_memory(models)
    print(f"\n{machine()}")


def put_model(models: Path, options: argparse.Namespace) -> None:
    import tastemaker as tm

    target = models / "recommender" / "1"
    if options.model is not None:
        target.parent.mkdir(parents=True)
        target.symlink_to(options.model.resolve())
    else:
        tm.save(tm.train(read_log(options)), target)


def write_requests(models: Path, folder: Path) -> dict[str, Path]:
    """Write the raw requests of each kind, one a line of hexadecimal digits."""
    import tastemaker as tm

    model = tm.load(models / "recommender" / "1")
    users, products = model.users.ids.to_list(), model.products.ids.to_list()
    draw = random.Random(1).choice
    make: dict[str, Callable[[], bytes]] = {
        "recommend": lambda: post(PREDICT, signature_name="recommend_user", inputs=draw(users)),
        "similar": lambda: post(PREDICT, signature_name="similar_products", inputs=draw(products)),
        "item_item": lambda: post(PREDICT, signature_name="call_item_item", inputs=draw(products)),
        "constant-10": lambda: post("/constant/10", signature_name="recommend_user", inputs=draw(users)),
        "constant-100": lambda: post("/constant/100", signature_name="call_item_item", inputs=draw(products)),
    }
    files = {name: folder / f"{name}.requests" for name in make}
    for name, file in files.items():
        file.write_text("\n".join(make[name]().hex() for _ in range(REQUESTS)))
    return files


def post(path: str, **body: Any) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def print_throughput(models: Path, requests: dict[str, Path], options: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in requests}
    with serving([sys.executable, __file__, "--serve", str(models), str(options.workers)]) as address:
        port = address.rpartition(":")[2]
        time.sleep(1)
        wait_until_quiet(models)
        for number in range(options.rounds + 1):
            for name, file in requests.items():
                command = [
                    sys.executable,
                    __file__,
                    "--load",
                    port,
                    str(file),
                    str(options.connections),
                    str(options.seconds),
                ]
                ran = subprocess.run(command, check=True, capture_output=True, text=True)
                if number:
                    found[name].append(json.loads(ran.stdout))
    rows = []
    for title, (kind, length, wanted) in KINDS.items():
        mine, constant = found[kind], found[f"constant-{length}"]
        share = [one["rate"] / other["rate"] for one, other in zip(mine, constant, strict=True)]
        median, late = (statistics.median(one[name] for one in mine) for name in ("p50", "p99"))
        rates = [spread([one["rate"] for one in measured], 0) for measured in (mine, constant)]
        rows.append([title, *rates, spread(share), f"{wanted:.2f}", f"{median:.1f}", f"{late:.1f}"])
    print(markdown(["answers a second", "", "constant", "share", "at least", "median ms", "p99 ms"], rows))
    how = f"{options.workers} worker(s), {options.connections} connections"
    print(f"\n{how}, {options.rounds} timed rounds of {options.seconds} s each.")


def wait_until_quiet(models: Path) -> None:
    """Wait until the server has worked out its neighbours; it says so in no answer, so watch for its helper."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = subprocess.run(
            ["pgrep", "-f", "tastemaker.serving.neighbours"], capture_output=True, check=False
        )
        if found.returncode:
            return
        time.sleep(0.2)


def print_start_and_memory(models: Path) -> None:
    starts: list[float] = []
    memory: dict[int, float] = {}
    for workers in (1, 1, 1, 4):
        began = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "tastemaker",
            "serve",
            str(models),
            "--port",
            "0",
            "--quiet",
            "--workers",
            str(workers),
        ]
        with serving(command) as address:
            urllib.request.urlopen(f"{address}/readyz", timeout=10).read()
            if workers == 1:
                starts.append(time.perf_counter() - began)
            wait_until_quiet(models)
            for _ in range(50):
                urllib.request.urlopen(f"{address}/v1/models/recommender/metadata", timeout=10).read()
            memory[workers] = shared_mebibytes(str(models))
    allowed = 1.5 * memory[1] + 4 * 80
    rows = [
        ["start until ready, s", spread(starts), "2"],
        ["memory of one worker, MiB", f"{memory[1]:.0f}", ""],
        ["memory of four workers and their parent, MiB", f"{memory[4]:.0f}", f"{allowed:.0f}"],
    ]
    print(markdown(["", "measured", "allowed"], rows))


def shared_mebibytes(models: str) -> float:
    """Return what all processes of the server hold, a page that several share counted once."""
    total = 0
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
            if b"serve" in words and models.encode() in words:
                lines = (command.parent / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total / 1024


@contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """Run a server; yield its address once it says that it serves."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        process.stdout.close()


# The server, with constant answers beside the real ones ----------------------------------------------------


def serve_with_constants(models: str, workers: str) -> None:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from tastemaker.serving import operations, server
    from tastemaker.serving.settings import Settings

    bodies = {
        length: json.dumps(
            {"outputs": {"product_ids": [10_386_518] * length, "scores": [1.1466157] * length}}
        )
        for length in (10, 100)
    }

    async def constant(request: Request) -> Response:
        await request.body()
        return Response(bodies[int(request.path_params["length"])], media_type="application/json")

    usual = operations.routes
    operations.routes = lambda: [Route("/constant/{length}", constant, methods=["POST"]), *usual()]
    settings = Settings(models=Path(models), port=0, workers=int(workers), log_requests=False)
    server.serve(settings, lambda address, _: print(address, flush=True))


# The load generator -----------------------------------------------------------------------------------------


def load(port: str, file: str, connections: str, seconds: str) -> None:
    requests = [bytes.fromhex(line) for line in Path(file).read_text().split()]
    print(json.dumps(asyncio.run(ask(int(port), requests, int(connections), float(seconds)))))


async def ask(port: int, requests: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    """Ask on all connections for so many seconds; return answers a second and the times of the median and the 99th percentile."""
    took: list[float] = []
    began = time.perf_counter()
    queue = cycle(requests)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Asker(queue, took, began + seconds), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*[asker.done for _, asker in made])
    rate = len(took) / (time.perf_counter() - began)
    took.sort()
    return {"rate": rate, "p50": took[len(took) // 2] * 1e3, "p99": took[int(len(took) * 0.99)] * 1e3}


class Asker(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again."""

    def __init__(self, queue: Iterator[bytes], took: list[float], end: float) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._queue, self._took, self._end = queue, took, end
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to ask."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Note the time of a whole answer, and ask again until the time is over."""
        self._held += data
        head = self._held.find(b"\r\n\r\n")
        if head < 0:
            return
        place = self._held.find(b"content-length: ") + 16
        if len(self._held) < head + 4 + int(self._held[place : self._held.index(b"\r", place)]):
            return
        if not self._held.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self._held[:300].decode()))
            return
        self._held = b""
        self._took.append(time.perf_counter() - self._asked)
        if time.perf_counter() < self._end:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(next(self._queue))


if __name__ == "__main__":
    main()
