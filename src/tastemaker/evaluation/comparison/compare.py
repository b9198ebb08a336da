"""`compare`: a log to learn from and one to measure with in, a `Comparison` of many models on the same users out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tastemaker.data.leaks import LeakWarning, check_no_leak
from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.given import AnyHeldOut, AnyLog, later_given, log_given, seen_by
from tastemaker.data.reading.readers import HeldOut
from tastemaker.data.splits import Split
from tastemaker.display import counted
from tastemaker.errors import SettingProblem, TrainingFailed
from tastemaker.evaluation.comparison.columns import check_segments
from tastemaker.evaluation.comparison.common_users import known_to_all, learned_from, share_seen
from tastemaker.evaluation.comparison.contestants import Contestant, LearningTerms, named, names
from tastemaker.evaluation.comparison.entries import Comparison, Entry, measured_entry, skipped_entry
from tastemaker.evaluation.comparison.measurement import STANDARD, Conditions, Measurement, measuring
from tastemaker.evaluation.comparison.verdict import against_others
from tastemaker.evaluation.comparison.workspace import LearnedModel, found_again, learned
from tastemaker.model.folder import load
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.progress import Watcher, nobody
from tastemaker.training.sharded.crew import Crew, Workers, hired
from tastemaker.types import Doubles

__all__ = ["Onlooker", "compare"]

FEWEST_HITS = 20
"""With fewer users who have a hit, intervals hold the truth less often than they say (docs/metrics.md)."""


def _unwatched(_: str) -> AbstractContextManager[Watcher]:
    return nullcontext(nobody)


def _unheard(_: Entry) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Onlooker:
    """What watches a comparison; either callback may raise, which ends it."""

    learning: Callable[[str], AbstractContextManager[Watcher]] = _unwatched
    """Called with the name of the model that is learned next; its watcher is told of every step"""
    measured: Callable[[Entry], object] = _unheard
    """Called with each entry when it is done"""


def compare(
    train: AnyLog | Split,
    held_out: AnyHeldOut | None = None,
    *,
    models: str | Path | Sequence[str | Path] = (),
    measure: Measurement = STANDARD,
    seed: int = 0,
    threads: int | None = None,
    workspace: str | Path | None = None,
    onlooker: Onlooker = Onlooker(),
    **measured: Any,
) -> Comparison:
    """Learn the default model and all baselines from ``train``, and measure each on what the same users bought later.

    ``models`` are names of `CONTESTANTS` and model folders, of any vocabulary. If you give names only these are learned, and best
    sellers, which are always in. The first one is *chosen* (without any, the default model): it is tested against every other one
    by each metric of ``measure`` (or of ``metrics=…, at=…``, its fields), on the same users, and p-values are corrected for the
    number of tests (`holm`).

    Both may be files, frames, or logs that were read, with vocabularies of their own: ids are what counts. Measured are the users
    whom every model knows; products unknown to a model count as missed. Each model's report is what `evaluate` says of it for those
    users. In ``workspace``, a folder, learned models are kept, and found again for the same purchases, settings and seed.
    A `Split` in the place of ``train`` has both parts. With ``workers="local:4"``, ``"ray"`` or ``"ray://HOST:PORT"`` several
    processes or a Ray cluster learn the default model's vectors and rank the lists; the numbers are the same.

    Raises `SettingProblem` for an unknown name, `NoPurchases` when no user is known to all, `DataError` when the same purchases
    stand in both (`check_no_leak`), and what `load`, `train` and `evaluate` raise; a baseline whose training fails is left out.

    >>> import numpy as np
    >>> import tastemaker as tm
    >>> shop = tm.make_shop(users=300, products=80, purchases=2_000)
    >>> split = tm.hold_out_random(shop.purchases, rng=np.random.default_rng(1))
    >>> found = compare(split.train, split.held_out, models=["co-purchase"])
    >>> [entry.name for entry in found.entries], found.chosen
    (['best-sellers', 'co-purchase'], 'co-purchase')
    """
    workers: Workers = measured.pop("workers", None)
    models = [models] if isinstance(models, str | Path) else models
    measure = measuring(measure, measured)
    train, held_out = _both(train, held_out)
    check_segments(measure.segments, train)
    asked, folders = _parted(models)
    given = {str(folder): load(folder) for folder in folders}
    chosen = names()[0]
    if models:
        chosen = str(models[0]) if models[0] in asked else str(Path(models[0]))
    contestants = named(asked)
    common = known_to_all(held_out, [train.users, *(model.users for model in given.values())])
    notes = tuple(_notes(train, held_out, common))
    place = None if workspace is None else _workspace(Path(workspace))
    entries = []
    with hired(workers, threads) as pool:
        crew = pool if isinstance(pool, Crew) else None
        conditions = Conditions(train, common, measure, chosen, seed, threads, crew)
        for entry in _entries(contestants, given, conditions, place, onlooker):
            onlooker.measured(entry)
            entries.append(entry)
    return _comparison(entries, conditions, notes, held_out.fingerprint())


def _both(train: AnyLog | Split, held_out: AnyHeldOut | None) -> tuple[Purchases, Purchases]:
    """Return what is learned from and what is measured with."""
    if isinstance(train, Split):
        return train.train, _to_measure(train.held_out if held_out is None else held_out)
    if held_out is None:
        raise SettingProblem(
            "compare needs what was bought later: compare(train, held_out), or compare(split)."
        )
    return log_given(train), _to_measure(held_out)


def _to_measure(given: AnyHeldOut) -> Purchases:
    if isinstance(given, HeldOut):
        return given.purchases
    return given if isinstance(given, Purchases) else later_given(given)


def _comparison(
    entries: Sequence[Entry], conditions: Conditions, notes: tuple[str, ...], held_out: str
) -> Comparison:
    """Test the measured models against each other; ``held_out`` is the fingerprint of all that was held out."""
    measure, chosen = conditions.measure, conditions.chosen
    values = {entry.name: entry.report.values for entry in entries if entry.report is not None}
    few = () if chosen not in values else _few_hits(values[chosen][measure.metrics[0]], conditions)
    return Comparison(
        entries=tuple(entries),
        chosen=chosen,
        tests=against_others(values, chosen, measure.metrics, seed=conditions.seed),
        metrics=tuple(measure.metrics),
        at=tuple(sorted(set(measure.at))),
        notes=(*notes, *few),
        seed=conditions.seed,
        include_purchased=measure.include_purchased,
        fingerprints=(conditions.train.fingerprint(), held_out),
    )


def _entries(
    contestants: Sequence[Contestant],
    given: dict[str, TasteModel],
    conditions: Conditions,
    workspace: Path | None,
    onlooker: Onlooker,
) -> Iterator[Entry]:
    train, seed = conditions.train, conditions.seed
    fingerprint = train.fingerprint()
    for contestant in contestants:
        obstacle = contestant.obstacle(train)
        if obstacle is not None:
            yield skipped_entry(contestant.name, obstacle)
            continue
        made = found_again(contestant, seed, fingerprint=fingerprint, workspace=workspace)
        if made is None:
            try:
                with onlooker.learning(contestant.name) as watch:
                    terms = LearningTerms(seed, conditions.threads, watch, conditions.crew)
                    made = learned(contestant, train, terms, fingerprint=fingerprint, workspace=workspace)
            except TrainingFailed:
                if contestant.name == conditions.chosen:
                    raise
                yield skipped_entry(contestant.name, "its training came to no finite loss on this log")
                continue
        yield measured_entry(contestant.name, made, conditions)
    for name, model in given.items():
        made = LearnedModel(model, None, folder=Path(name))
        yield measured_entry(name, made, conditions, tuple(_doubts(model, conditions)))


def _doubts(model: TasteModel, conditions: Conditions) -> Iterator[str]:
    """Say what makes the comparison with a given model unequal."""
    train, held_out = conditions.train, conditions.held_out
    if model.record.data_fingerprint == train.fingerprint():
        return
    yield "learned from other purchases than TRAIN"
    seen = share_seen(learned_from(model), seen_by(held_out, model.users, model.products))
    known = share_seen(train, seen_by(held_out, train.users, train.products))
    if seen > known:
        yield f"has seen {seen:.0%} of what is held out, {known:.0%} of which is in TRAIN"


def _notes(train: Purchases, held_out: Purchases, common: Purchases) -> Iterator[str]:
    """Say what was left out of the measurement, and what makes it unreliable."""
    left_out = len(held_out) - len(common)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", LeakWarning)
        check_no_leak(train, common, repeats=True)
    yield from (str(warning.message) for warning in heard)
    if left_out:
        purchases = counted(left_out, "held-out purchase", "is", "are")
        yield f"{purchases} of users whom not every model knows: not measured."
    known = seen_by(common, train.users, train.products)
    strange = int((known.product_rows >= len(train.products)).sum())
    if strange:
        purchases = counted(strange, "held-out purchase", "is", "are")
        yield f"{purchases} of products that TRAIN does not know: no model learned from it can find them."
    seen = share_seen(train, known)
    if seen:
        yield f"{seen:.1%} of the held-out pairs stand in train, too: purchases made again, or a leak."


def _few_hits(values: Doubles, conditions: Conditions) -> Iterator[str]:
    """Say when too few users have a hit of the chosen model for intervals and tests to mean much (`bca_ends`)."""
    hits = int((values > 0).sum())
    if hits < FEWEST_HITS:
        yield (
            f"Of {counted(len(values), 'user')} {hits} {'has' if hits == 1 else 'have'} any {conditions.measure.metrics[0]} "
            f"from {conditions.chosen}: "
            "with so few, intervals and p-values say little."
        )


def _workspace(folder: Path) -> Path:
    """Refuse a place that cannot be written to, before anything is learned."""
    if folder.exists() and not folder.is_dir():
        raise SettingProblem(f"the workspace {folder} is a file; give a folder, which may be a new one.")
    return folder


def _parted(models: Sequence[str | Path]) -> tuple[list[str], list[Path]]:
    """Tell names from folders: the name of a contestant is a name, anything else a folder if it exists."""
    asked, folders = [], []
    for model in models:
        if isinstance(model, Path) or (model not in names() and Path(model).exists()):
            folders.append(Path(model))
        else:
            asked.append(model)
    return asked, folders
