"""`Settings`: everything that an operator may set, and every limit, in one frozen value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from tastemaker.errors import SettingProblem
from tastemaker.ranking.exploring.swaps import check_rate
from tastemaker.serving.front.proxies import trusts

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How `tastemaker serve` serves. Every limit refuses with a clear answer; none cuts silently."""

    models: Path
    """``MODELS``, with folders NAME/VERSION; or one model's folder, or one version's"""
    models_address: str | None = None
    """Where they lie in an object store: `serve` fetches them into ``models_cache``, which takes the place of ``models``"""
    models_cache: Path | None = None
    """The folder for that; by default one of the user's cache"""
    models_every: float = 30.0
    """How often the store is asked for new versions, labels and rules"""
    host: str = "127.0.0.1"
    port: int = 8501
    """TensorFlow Serving's own port; 0 takes a free one"""
    workers: int = 1
    """Processes that answer"""
    threads: int = 1
    """Threads of each worker that rank; with one, waiting requests share more calls of the kernel"""
    poll_seconds: float = 1.0
    """How often the folders are looked at for new versions, labels and rules"""
    keep_versions: int = 10
    """How many of the newest versions of each model are loaded, beside those with a label"""
    catalogue: Path | None = None
    """A table of products, any columns: for rules, for the page"""
    catalogue_address: str | None = None
    """Where that table lies in a database or an object store: it is copied into ``catalogue`` by `serve`"""
    catalogue_every: float = 60.0
    """How often it is copied"""
    approximate: bool = False
    """Whether the API's plain lists are found by an approximate index where a version has one beside its folder"""
    keys: Path | None = None
    """The file of API keys; without it, every client may read and none may change anything"""
    insecure: bool = False
    """Whether a public address is served without keys"""
    allowed_hosts: tuple[str, ...] = ()
    """Names beside this machine's own that requests may be sent to (421); where there are none, a server that others reach
    answers to any name, and one without keys on a loopback address to this machine's alone"""
    without_rules: bool = False
    """Whether lists are made without rules where a model's rules cannot be read and no good ones are known (else 503)"""
    events: Path | None = None
    """The SQLite file of live purchases; without it none are accepted"""
    state: str | None = None
    """The URI of the PostgreSQL database in which several hosts share live purchases; ``events`` is this host's copy"""
    explore: float = 0.0
    """The chance with which a place of a list shows another product of the ranking; they are logged in ``state``, or ``events``"""
    scratch: Path | None = None
    """A folder for what the workers of one server share; made, and removed at the end, by `serve`"""
    log_requests: bool = True
    """Whether each request is logged, and not only those that failed"""

    body_bytes: int = 1 << 20
    """Longest body of a request (413)"""
    json_depth: int = 32
    """Deepest nesting of a JSON body (400)"""
    most_k: int = 1000
    """Longest list that a request may ask for (400)"""
    most_queries: int = 256
    """Most users, baskets or products of one request (400)"""
    most_lines: int = 10_000
    """Most lines of a body of JSON lines (400)"""
    most_basket: int = 1000
    """Most products of one basket (400)"""
    seconds: float = 10.0
    """Longest time of a request (504)"""
    body_seconds: float = 10.0
    """Longest time for the headers and for the body of a request to arrive (408)"""
    waiting: int = 512
    """Most requests of a worker that wait for a ranking thread (503)"""
    connections: int = 1024
    """Most open connections of a worker; fewer where the limit of open files is lower"""
    address_connections: int = 768
    """Most open connections of one address to a worker, a trusted proxy's apart"""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose ``X-Forwarded-For`` is believed"""
    requests_per_second: float = 0.0
    """What one client may ask in the long run (429); 0 sets no limit"""
    burst: int = 100
    """What one client may ask at once, where there is a limit"""
    drain_seconds: float = 30.0
    """Longest time that running requests get to end after SIGTERM"""

    def __post_init__(self) -> None:
        positive = {
            field.name for field in dataclasses.fields(self) if isinstance(field.default, int | float)
        }
        positive -= {
            "port",
            "insecure",
            "without_rules",
            "approximate",
            "log_requests",
            "requests_per_second",
            "explore",
        }
        for name in sorted(positive):
            value = getattr(self, name)
            if not value > 0:
                raise SettingProblem(f"{name} is {value}; it must be greater than 0.")
        if not 0 <= self.port < 1 << 16:
            raise SettingProblem(f"port is {self.port}; it must be from 0 (any free one) to 65535.")
        trusts(self.trusted_proxies)
        check_rate(self.explore)
        if self.explore and self.events is None:
            raise SettingProblem(
                "lists that explore are logged in the file of events; give --events F beside --explore."
            )
        if not self.requests_per_second >= 0:
            raise SettingProblem(f"requests_per_second is {self.requests_per_second}; 0 sets no limit.")
