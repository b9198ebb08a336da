"""The steps of a run that make something: each is kept under the mark of its inputs, and is not done twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.display import counted
from tastemaker.errors import ModelFolderProblem, SettingProblem, TastemakerError
from tastemaker.model.config import Config, preset
from tastemaker.model.folder import load, read_manifest, save, versions_of
from tastemaker.model.forgotten import Forgotten
from tastemaker.model.manifest import receipt_of
from tastemaker.model.taste_model import TasteModel
from tastemaker.nights.gate import Tested, tested
from tastemaker.nights.night_log import NightLog
from tastemaker.nights.shop_file import ShopFile
from tastemaker.scale.where import executor_of
from tastemaker.serving.forgetting import forgetting
from tastemaker.serving.models.labels import Labels, change_labels, read_labels
from tastemaker.serving.shared.home import labels_home
from tastemaker.storage import remove_folder, replace_text
from tastemaker.training.checkpoint import Checkpoints
from tastemaker.training.forget import FORGOTTEN
from tastemaker.training.sharded.crew import Crew
from tastemaker.training.train import Recovery, train

__all__ = [
    "NIGHT",
    "InService",
    "Night",
    "config_of",
    "cut_of",
    "in_service",
    "inputs_of",
    "labels_of",
    "pruned",
    "published",
    "receipt",
    "relabelled",
    "replayed",
    "version_of",
]

NIGHT = "night"
"""Where the record of a model holds what it was made from"""

DAY = 86_400_000_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class InService:
    """The version that answers now."""

    version: int
    model: TasteModel
    cut: int
    """The time of the last event that it learned from"""


@dataclass(frozen=True, slots=True)
class Night:
    """A run under way."""

    shop: ShopFile
    log: NightLog
    purchases: Purchases
    inputs: str
    """The mark of everything that decides the bytes of the version"""
    say: Say

    @property
    def work(self) -> Path:
        """Return the folder of what is made before the version is published."""
        return self.shop.state / "work" / self.inputs[:16]


def config_of(shop: ShopFile) -> Config:
    """Return the settings to learn with."""
    learn = shop.learn
    return preset(learn.preset, effort=learn.effort).changed(dict(learn.settings))  # type: ignore[arg-type]


def inputs_of(shop: ShopFile, purchases: Purchases) -> str:
    """Return the mark of a log and the settings: equal marks give versions of equal bytes."""
    learn = [purchases.fingerprint(), config_of(shop).to_json(), shop.learn.seed]
    return sha256(json.dumps(learn, sort_keys=True).encode()).hexdigest()


def labels_of(shop: ShopFile) -> Labels:
    """Return the labels of the model, from its folder or from the database in which hosts share them."""
    with labels_home(shop.folder, shop.publish.state) as (_, place):
        return read_labels(place)


def relabelled(shop: ShopFile, change: Callable[[Labels], Labels]) -> None:
    """Change the labels of the model where they are."""
    with labels_home(shop.folder, shop.publish.state) as (home, place):
        change_labels(place, change, home=home)


def in_service(shop: ShopFile) -> InService | None:
    """Return the version that answers: the labelled one, else the newest that is sound; ``None`` where there is none."""
    folder = shop.folder
    labelled = labels_of(shop).versions.get(shop.publish.label) if folder.is_dir() else None
    for version in [labelled] if labelled is not None else reversed(versions_of(folder)):
        try:
            model = load(folder / str(version))
        except ModelFolderProblem:
            if labelled is not None:
                raise
            continue
        return InService(int(version), model, cut_of(model))
    return None


def cut_of(model: TasteModel) -> int:
    """Return the time of the last event that a model learned from; 0 where it does not know."""
    if model.past is None or not len(model.past):
        return 0
    return int(np.max(model.past.times))


def version_of(shop: ShopFile, inputs: str) -> int | None:
    """Return the version that was made from these inputs, where there is one."""
    for version in reversed(versions_of(shop.folder)):
        if made_from(read_manifest(shop.folder / str(version)).get("metrics") or {}) == inputs:
            return version
    return None


def made_from(metrics: Mapping[str, Any]) -> str | None:
    """Return the mark of what a version was made from; ``None`` where it is unknown, or users were taken out of it since."""
    return None if metrics.get(FORGOTTEN) else (metrics.get(NIGHT) or {}).get("inputs")


def replayed(night: Night, service: InService | None) -> Tested:
    """Learn from what the version in service had, and ask both for what was bought since; kept, and not done twice."""
    shop, terms = night.shop, night.shop.replay
    times = night.purchases.times
    assert times is not None
    cut = service.cut if service is not None else 0
    if not cut:
        cut = int(times.max()) - int(terms.days * DAY)
    mark = sha256(f"{night.inputs} {cut} {service and service.version} {terms}".encode()).hexdigest()[:16]
    file = night.work / f"replay-{mark}.json"
    if file.is_file():
        return Tested.of(json.loads(file.read_text()))
    if cut >= int(times.max()) or cut < int(times.min()):
        why = (
            "nothing was bought since it learned"
            if cut >= int(times.max())
            else "the log does not reach back so far"
        )
        found = Tested(0, 0, terms.metric, None, None, True, f"nothing was tested: {why}.")
    else:
        until = night.log.purchases(until=cut)
        candidate = None if service is None else _same(shop, service, until)
        if candidate is None:
            candidate = _kept(night, "candidate", until)
        else:
            night.say(
                "Neither the settings nor the past have changed: the version in service is asked alone."
            )
        later = night.log.purchases(after=cut)
        name = "the last version" if service is None else f"version {service.version}"
        model = None if service is None or not service.cut else service.model
        found = tested(candidate, model, later, terms, name=name, seed=shop.learn.seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps(found.as_dict()))
    return found


def _same(shop: ShopFile, service: InService, until: Purchases) -> TasteModel | None:
    """Return the version in service where a model of these purchases and settings would be the same to the byte."""
    return service.model if made_from(service.model.record.metrics) == inputs_of(shop, until) else None


def published(night: Night, tests: Tested) -> int:
    """Learn from everything and publish it as the next version, whose number is returned.

    Raises `ModelFolderProblem` where a user was forgotten meanwhile, of whom this model has learned.
    """
    folder = night.shop.folder
    model = _learned(night, night.purchases, "all")
    note = {"inputs": night.inputs, "replay": tests.as_dict(), "live_events": night.log.live}
    record = replace(model.record, metrics={**model.record.metrics, NIGHT: note})
    folder.mkdir(parents=True, exist_ok=True)
    with forgetting(folder):
        if Forgotten.of(folder) != night.log.forgotten_users:
            raise ModelFolderProblem(
                f"users of {folder} were forgotten while this run learned from them, so nothing is published; run it again."
            )
        version = max(versions_of(folder), default=0) + 1
        save(replace(model, record=record), folder / str(version))
    return version


def receipt(shop: ShopFile, version: int) -> str:
    """Return the checksum of a version, which another training from the same log has, too."""
    return receipt_of(read_manifest(shop.folder / str(version)))


def _kept(night: Night, name: str, log: Purchases) -> TasteModel:
    folder = night.work / f"{name}-{log.fingerprint()[:16]}"
    try:
        return load(folder)
    except TastemakerError:
        shutil.rmtree(folder, ignore_errors=True)
    model = _learned(night, log, name)
    save(model, folder)
    return load(folder)


def _learned(night: Night, log: Purchases, name: str) -> TasteModel:
    """Learn, from the checkpoint of a run that was killed where there is one; by the shop's workers, where it has any."""
    with ExitStack() as opened:
        workers = None
        if night.shop.learn.workers != "local":
            place = night.work / f"{name}.crew"
            opened.callback(shutil.rmtree, place, ignore_errors=True)
            workers = opened.enter_context(
                Crew(executor_of(night.shop.learn.workers), place, night.shop.learn.threads)
            )
        model = _learned_by(night, log, name, workers)
        if workers is not None:
            night.say(f"{workers.tally.sentence()}.")
        return model


def _learned_by(night: Night, log: Purchases, name: str, workers: Crew | None) -> TasteModel:
    learn = night.shop.learn
    folder = night.work / f"{name}.checkpoint"
    folder.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "seed": learn.seed,
        "threads": learn.threads,
        "progress": False,
        "workers": workers,
    }
    night.say(f"Learning from {counted(len(log), 'purchase')} ({name}) …")
    resume = folder if (folder / "checkpoint.json").is_file() else None
    try:
        model = train(
            log,
            config_of(night.shop),
            recovery=Recovery(checkpoints=Checkpoints(folder, 5), resume=resume),
            **options,
        )
    except (SettingProblem, ModelFolderProblem):
        if resume is None:
            raise
        shutil.rmtree(folder)  # of another training
        model = train(
            log, config_of(night.shop), recovery=Recovery(checkpoints=Checkpoints(folder, 5)), **options
        )
    shutil.rmtree(folder, ignore_errors=True)
    return model


def pruned(shop: ShopFile) -> list[int]:
    """Remove all but the last versions; those that a label names, or named before, stay."""
    folder, labels = shop.folder, labels_of(shop)
    before: Mapping[str, Any] = next(
        (move for move in reversed(labels.history) if move["label"] == shop.publish.label), {}
    )
    kept = {*labels.versions.values(), before.get("from"), *versions_of(folder)[-shop.publish.keep :]}
    gone = [version for version in versions_of(folder) if version not in kept]
    for version in gone:
        for path in (folder / str(version), folder / f"{version}.index"):
            if path.is_dir():
                remove_folder(path)
    return gone
