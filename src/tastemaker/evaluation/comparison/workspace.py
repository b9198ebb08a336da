"""A folder that remembers trained models, so that the same model is not learned twice from the same purchases."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tastemaker.data.purchases import Purchases
from tastemaker.errors import DamagedModel, FolderExists
from tastemaker.evaluation.comparison.contestants import Contestant, LearningTerms
from tastemaker.evaluation.comparison.cost import Cost, costing
from tastemaker.model.folder import load, save
from tastemaker.model.taste_model import TasteModel

__all__ = ["LearnedModel", "found_again", "learned"]

COST = "cost"
"""The key under which a kept model's record tells what learning it took."""


@dataclass(frozen=True, slots=True, eq=False)
class LearnedModel:
    """A model and where it comes from."""

    model: TasteModel
    cost: Cost | None
    """What learning took, now or when it was learned; ``None`` when it was not recorded"""
    reused: bool = False
    """Whether it was found in the workspace, not learned"""
    folder: Path | None = None
    """Where it is kept"""


def learned(
    contestant: Contestant, log: Purchases, terms: LearningTerms, *, fingerprint: str, workspace: Path | None
) -> LearnedModel:
    """Return the contestant's model of the log: from the workspace if it is there, learned now (and kept) if not.

    A kept model is found by the log's fingerprint, the seed, the settings and the versions of the packages that learn; a folder of
    it appears whole or not at all, and one that was damaged since is thrown away. Without a workspace nothing is written.
    """
    kept = found_again(contestant, terms.seed, fingerprint=fingerprint, workspace=workspace)
    if kept is not None:
        return kept
    model, cost = costing(lambda: contestant.learn(log, terms))
    if workspace is None:
        return LearnedModel(model, cost)
    place = workspace / _name(contestant, fingerprint, terms.seed)
    record = replace(model.record, metrics={**model.record.metrics, COST: asdict(cost)})
    model = replace(model, record=record)
    with contextlib.suppress(FolderExists):  # another comparison was quicker; its model is the same
        save(model, place)
    return LearnedModel(model, cost, folder=place)


def found_again(
    contestant: Contestant, seed: int, *, fingerprint: str, workspace: Path | None
) -> LearnedModel | None:
    """Return the contestant's model from the workspace, ``None`` if it must be learned; throw a damaged one away."""
    place = None if workspace is None else workspace / _name(contestant, fingerprint, seed)
    if place is None or not place.is_dir():
        return None
    try:
        kept = load(place)
    except DamagedModel:
        shutil.rmtree(place)
        return None
    return LearnedModel(kept, _cost_of(kept), reused=True, folder=place)


def _name(contestant: Contestant, fingerprint: str, seed: int) -> str:
    facts = {**contestant.identity(), "purchases": fingerprint, "seed": seed}
    return f"{contestant.name}-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}"


def _cost_of(model: TasteModel) -> Cost | None:
    noted = model.record.metrics.get(COST)
    return None if noted is None else Cost(noted["seconds"], noted["peak_memory_bytes"])
