"""What the tests of the service share: small models with known numbers, an application in this process, a server in its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import numpy as np
import polars as pl
from starlette.testclient import TestClient

from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.serving.app import create_app
from tastemaker.serving.front.settings import Settings

PRODUCTS = 160
USERS = 30


def product_id(row: int) -> int:
    return 1000 + 7 * row


def make_model(
    seed: int = 0, *, text: bool = False, products: int = PRODUCTS, users: int = USERS
) -> TasteModel:
    """A model of random vectors: 160 products with ids 1000, 1007, …; user 3 bought products 3 and 6, and so on."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(products, 8)).astype(np.float32)
    ids = [product_id(row) for row in range(products)]
    bought = np.array(
        [row for user in range(users) for row in sorted({user % products, 2 * user % products})], np.int32
    )
    lengths = [len({user % products, 2 * user % products}) for user in range(users)]
    return TasteModel(
        users=Vocabulary.of([f"u{number:03}" for number in range(users)], noun="user"),
        products=Vocabulary.of(
            [f"p{id}" for id in ids] if text else pl.Series(ids, dtype=pl.Int32), noun="product"
        ),
        histories=Histories(np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), bought),
        product_vectors=vectors,
        product_bias=rng.normal(size=products).astype(np.float32),
        user_vectors=None,
        basket_vectors=vectors,
        memory=None,
        record=TrainingRecord(None, seed, f"seed {seed}", len(bought)),
    )


@contextlib.contextmanager
def client_of(models: Path, **settings: object) -> Iterator[TestClient]:
    """An application in this process, and a client for it that sees a server's mistakes as answers."""
    app = create_app(Settings(models=models, log_requests=False, **settings))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@dataclass
class Server:
    """A running ``tastemaker serve``."""

    process: subprocess.Popen[str]
    address: str
    announced: str
    log: Path
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.address, timeout=20, trust_env=False)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        serving = []
        for child in children:
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                facts = (Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "comm"))
                if not any(b"tryout" in fact for fact in facts):
                    serving.append(child)
        return [int(child) for child in serving] or [self.process.pid]


Start = Callable[..., Server]


def environment() -> dict[str, str]:
    quiet = {"PYTHONWARNINGS": "error", "NO_COLOR": "1", "COLUMNS": "200"}
    return {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"} | quiet


@contextlib.contextmanager
def serving(models: Path, log: Path, *options: object) -> Iterator[Server]:
    """Start ``tastemaker serve MODELS`` on a free port, wait until it says that it serves, and end it afterwards."""
    command = [sys.executable, "-m", "tastemaker", "serve", models, "--port", 0, "--poll", 0.1, *options]
    with log.open("w") as errors:
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
        )
    impatience = threading.Timer(
        180, process.kill
    )  # compiling on a fresh machine takes a while, but not that long
    impatience.start()
    with process.stdout:
        line = process.stdout.readline()
        impatience.cancel()
        assert line.startswith("Serving "), log.read_text()
        server = Server(process, line.split()[-1], line, log)
        try:
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.stop()
