"""What the service counts, for Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
    process_collector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from tastemaker.serving.models.registry import Change, Registry
from tastemaker.storage import locked

T = TypeVar("T", Counter, Histogram)

__all__ = ["CONTENT_TYPE", "SHARED_FOLDER", "Metrics", "sweep_dead"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which worker processes add up their counts; read when prometheus_client is imported"""

ENDED = 0
"""Stands in the name of the files of all processes that ended, where a number of a process stands in others"""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The counters of one application; with `SHARED_FOLDER` set they are the sums over all its processes."""

    def __init__(self, registry: Registry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._models = registry
        self._children: dict[tuple[Any, ...], Any] = {}
        self._requests = Counter(
            "tastemaker_requests",
            "Requests answered",
            ["route", "status", "model", "version"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tastemaker_request_seconds",
            "Time from the first byte to the last",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._unknown = Counter(
            "tastemaker_unknown_ids",
            "Ids asked for that the model does not know",
            ["model", "kind"],
            registry=self._registry,
        )
        self._empty = Counter(
            "tastemaker_empty_answers", "Ranked lists without a product", ["model"], registry=self._registry
        )
        self._loads = Counter(
            "tastemaker_loads",
            "Versions loaded, refused or removed",
            ["model", "outcome"],
            registry=self._registry,
        )
        self._cut_off = Counter(
            "tastemaker_requests_cut_off",
            "Requests that were not answered before their worker ended",
            ["route"],
            registry=self._registry,
        )
        self._fallbacks = Counter(
            "tastemaker_fallbacks",
            "Answers by what they rest on",
            ["model", "source"],
            registry=self._registry,
        )

    def request(self, route: str, status: int, seconds: float, model: str, version: str) -> None:
        """Count one answered request."""
        self._child(self._requests, route, str(status), model, version).inc()
        self._child(self._seconds, route).observe(seconds)

    def cut_off(self, route: str) -> None:
        """Count a request that was not answered before the end, beside the answer that says so."""
        self._child(self._cut_off, route).inc()

    def _child(self, family: T, *labels: str) -> T:
        """Return the one counter of a family with these labels: looked up here, not under the family's lock, at each request."""
        found: T | None = self._children.get((family, *labels))
        if found is None:
            found = self._children[family, *labels] = family.labels(*labels)
        return found

    def unknown_ids(self, model: str, kind: str, count: int = 1) -> None:
        """Count ids (``kind``: user or product) that the model does not know."""
        if count:
            self._unknown.labels(model, kind).inc(count)

    def empty_answers(self, model: str, count: int = 1) -> None:
        """Count ranked lists without a product."""
        if count:
            self._empty.labels(model).inc(count)

    def fallback(self, model: str, source: str, count: int = 1) -> None:
        """Count answers by what they rest on: personal, basket, category best sellers, best sellers."""
        self._child(self._fallbacks, model, source).inc(count)

    def with_exploring(self) -> None:
        """Count lists that explore from now on; without this, nothing of them is shown."""
        self._explored = Counter(
            "tastemaker_explored_places",
            "Places of lists at which exploring put another product than the ranking has there",
            ["model"],
            registry=self._registry,
        )
        self._logged = Counter(
            "tastemaker_lists_that_explore", "Lists drawn with --explore", ["model"], registry=self._registry
        )
        self._not_logged = Counter(
            "tastemaker_lists_not_logged",
            "Lists drawn with --explore that could not be logged",
            registry=self._registry,
        )

    def explored(self, model: str, places: int) -> None:
        """Count a list that was drawn, and how many of its places changed."""
        self._child(self._logged, model).inc()
        self._child(self._explored, model).inc(places)

    def not_logged(self, count: int) -> None:
        """Count lists that were drawn and could not be logged."""
        self._not_logged.inc(count)

    def change(self, change: Change) -> None:
        """Count a version that was loaded, removed or refused."""
        if change.what != "labels":
            self._loads.labels(change.name, change.what).inc()

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        shared = os.environ.get(SHARED_FOLDER)
        if shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            with locked(Path(shared)):
                counted = generate_latest(registry)
        else:
            counted = generate_latest(self._registry)
        own = CollectorRegistry()
        own.register(_ModelGauges(self._models))
        process_collector.ProcessCollector(registry=own)
        return counted + generate_latest(own)


def sweep_dead(folder: Path, process: int) -> None:
    """Add the counts of a process that ended to those of all that ended before, and remove its files."""
    with locked(folder):
        for file in folder.glob(f"*_{process}.db"):
            kind = file.name.removesuffix(f"_{process}.db")
            if kind in ("counter", "histogram"):
                sums = MmapedDict(str(folder / f"{kind}_{ENDED}.db"))  # type: ignore[no-untyped-call]
                for key, value, moment, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
                    sums.write_value(key, sums.read_value(key)[0] + value, moment)  # type: ignore[no-untyped-call]
                sums.close()  # type: ignore[no-untyped-call]
            file.unlink()


class _ModelGauges(Collector):
    """Gauges of the models, read when asked for; every worker has the same models."""

    def __init__(self, registry: Registry) -> None:
        self._models = registry

    def collect(self) -> Iterator[Metric]:
        labels = ["model", "version"]
        age = GaugeMetricFamily(
            "tastemaker_model_age_seconds", "Time since the model was written", labels=labels
        )
        default = GaugeMetricFamily(
            "tastemaker_model_default", "1 for the version of requests that name none", labels=labels
        )
        refused = GaugeMetricFamily(
            "tastemaker_model_refused", "1 for a version that was refused", labels=labels
        )
        for name, served in self._models.models.items():
            for version, loaded in served.ready.items():
                age.add_metric([name, str(version)], time.time() - loaded.created.timestamp())
                default.add_metric([name, str(version)], float(version == served.default))
            for version in served.refused:
                refused.add_metric([name, str(version)], 1.0)
        yield age
        yield default
        yield refused
