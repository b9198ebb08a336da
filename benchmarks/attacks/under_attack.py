"""What the attacks share: a small shop, a server in a process of its own, and what the server uses."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import parser_of

PREDICT = "/v1/models/recommender:predict"


def options_of(text: str | None, **defaults: int) -> argparse.Namespace:
    """Return the options of an attack; ``--python`` names the interpreter whose tastemaker is attacked."""
    parser = parser_of(text, **defaults)
    parser.add_argument("--python", default=sys.executable, help="the Python whose tastemaker serves")
    return parser.parse_args()


MAKE = """
import json, sys
import tastemaker as tm
shop = tm.make_shop(users=2_000, products=1_000, purchases=20_000, seed=1)
config = tm.preset("default").changed({"epochs": 1, "dimensions": 16})
model = tm.train(shop.purchases, config, seed=1)
for version in range(1, int(sys.argv[2]) + 1):
    tm.save(model, f"{sys.argv[1]}/recommender/{version}")
print(json.dumps([model.users.ids.to_list(), model.products.ids.to_list()]))
"""


def put_shop(models: Path, *, versions: int = 1, python: str = sys.executable) -> tuple[list[Any], list[Any]]:
    """Write versions of a small model by the tastemaker that will serve it; return the ids of its users and products."""
    command = [python, "-c", MAKE, str(models), str(versions)]
    users, products = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    )
    return users, products


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float = 30, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask once, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def processor_seconds(self) -> float:
        """Return the processor time that the process and its children have used."""
        return sum(_seconds_of(number) for number in self.processes())

    def memory(self) -> float:
        """Return the resident memory of all its processes, MiB."""
        total = 0.0
        for number in self.processes():
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{number}/status").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
        return total

    def processes(self) -> list[int]:
        """Return the process and all below it."""
        return [self.process.pid, *children_of(self.process.pid)]


def children_of(process: int) -> list[int]:
    """Return all processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children_of(child)]
    return found


def _seconds_of(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(python: str, models: Path, log: Path, *options: object, files: int = 0) -> Iterator[Server]:
    """Serve models; ``files`` is the limit of open files, soft and hard."""
    command = [python, "-m", "tastemaker", "serve", str(models), "--port", "0", *map(str, options)]
    if files:
        command = ["bash", "-c", f'ulimit -n {files}; exec "$@"', "attack", *command]
    with log.open("a") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit(f"the server ended before it was ready: {log.read_text()[-2000:]}")
        yield Server(process, int(line.split()[-1].rpartition(":")[2]), log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def new_key(python: str, file: Path, role: str = "admin") -> str:
    """Make a key with the command; return it."""
    command = [python, "-m", "tastemaker", "key", "new", "--keys", str(file), "--role", role]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]


def as_json(value: object) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()


def table(rows: list[tuple[str, object]]) -> str:
    """Return what was attacked and what came of it as Markdown."""
    return "\n".join(
        ["| attack | result |", "|---|---|", *(f"| {what} | {result} |" for what, result in rows)]
    )
