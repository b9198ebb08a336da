"""`compare`: a log to learn from and one to measure with in, a `Comparison` of many models on the same users out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tastemaker.data.leaks import LeakWarning, check_no_leak
from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.comparison.columns import check_segments
from tastemaker.evaluation.comparison.common_users import known_to_all, learned_from, seen_by, share_seen
from tastemaker.evaluation.comparison.contestants import Contestant, Terms, named, names
from tastemaker.evaluation.comparison.entries import Comparison, Entry, measured_entry, skipped_entry
from tastemaker.evaluation.comparison.verdict import against_others
from tastemaker.evaluation.comparison.workspace import Learned, found_again, learned
from tastemaker.evaluation.metrics import USER_METRICS
from tastemaker.evaluation.segments import Segments
from tastemaker.model.folder import load
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.progress import Watcher, nobody

__all__ = ["DEFAULT_METRIC", "Onlooker", "compare"]

DEFAULT_METRIC = "ndcg@10"

FEW = 20
"""With fewer users who have a hit, intervals hold the truth less often than they say (docs/metrics.md)."""


def _unwatched(_: str) -> AbstractContextManager[Watcher]:
    return nullcontext(nobody)


def _unheard(_: Entry) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Whoever watches a comparison; either may raise, to end it."""

    learning: Callable[[str], AbstractContextManager[Watcher]] = _unwatched
    """Called with the name of the model that is learned next; its watcher is told of every step"""
    measured: Callable[[Entry], object] = _unheard
    """Called with each entry when it is done"""


@dataclass(frozen=True, slots=True)
class _Measure:
    """How all models are measured."""

    held_out: Purchases
    train: Purchases
    at: tuple[int, ...]
    include_purchased: bool
    seed: int
    threads: int | None
    chosen: str
    metric: str
    """The first of those that are tested"""
    segments: tuple[Segments, ...]


def compare(
    train: Purchases,
    held_out: Purchases,
    *,
    models: Sequence[str | Path] = (),
    metrics: Sequence[str] = (DEFAULT_METRIC,),
    at: Sequence[int] = (10, 20, 100),
    include_purchased: bool = False,
    segments: Sequence[Segments] = (),
    seed: int = 0,
    threads: int | None = None,
    workspace: str | Path | None = None,
    onlooker: Onlooker = Onlooker(),
) -> Comparison:
    """Learn the default model and all baselines from ``train``, and measure each on what the same users bought later.

    ``models`` are names of `CONTESTANTS` and model folders, of any vocabulary. If names are given only these are learned, and best
    sellers, which are always in. The first one is *chosen* (without any, the default model): it is tested against every other one
    by each of ``metrics``, on the same users, and p-values are corrected for the number of tests (`holm`).

    ``held_out`` may have its own vocabularies (`read_purchases`) or those of ``train``: ids are what counts. Measured are the users
    whom every model knows; products unknown to a model count as missed. Each model's report is what `evaluate` says of it for those
    users. ``segments``, of all users or all products of ``train`` (`by_column` with ``train.users`` or ``train.products``), are
    measured by the first metric beside those by history and by popularity: each entry's ``kept.parts``. In ``workspace``, a folder,
    learned models are kept, and found again for the same purchases, settings and seed.

    Raises `SettingProblem` for an unknown name or metric, `NoPurchases` when no user is known to all, `DataError` when the same
    purchases stand in both (`check_no_leak`), and what `load`, `train` and `evaluate` raise.

    >>> import numpy as np
    >>> import tastemaker as tm
    >>> shop = tm.make_shop(users=300, products=80, purchases=2_000)
    >>> split = tm.hold_out_random(shop.purchases, rng=np.random.default_rng(1))
    >>> found = compare(split.train, split.held_out, models=["co-purchase"])
    >>> [entry.name for entry in found.entries], found.chosen
    (['best-sellers', 'co-purchase'], 'co-purchase')
    """
    cutoffs = _cutoffs(metrics, at)
    check_segments(segments, train)
    asked, folders = _parted(models)
    given = {str(folder): load(folder) for folder in folders}
    chosen = names()[0]
    if models:
        chosen = str(models[0]) if models[0] in asked else str(Path(models[0]))
    contestants = named(asked)
    common = known_to_all(held_out, [train.users, *(model.users for model in given.values())])
    notes = tuple(_notes(train, held_out, common))
    measure = _Measure(
        common, train, cutoffs, include_purchased, seed, threads, chosen, metrics[0], tuple(segments)
    )
    place = None if workspace is None else _workspace(Path(workspace))
    entries = []
    for entry in _entries(contestants, given, measure, place, onlooker):
        onlooker.measured(entry)
        entries.append(entry)
    return Comparison(
        entries=tuple(entries),
        chosen=chosen,
        tests=against_others(entries, chosen, metrics, seed=seed),
        metrics=tuple(metrics),
        at=tuple(sorted(set(at))),
        notes=(*notes, *_few(entries, chosen, metrics[0])),
        seed=seed,
        include_purchased=include_purchased,
        fingerprints=(train.fingerprint(), held_out.fingerprint()),
    )


def _entries(
    contestants: Sequence[Contestant],
    given: dict[str, TasteModel],
    measure: _Measure,
    workspace: Path | None,
    onlooker: Onlooker,
) -> Iterator[Entry]:
    fingerprint = measure.train.fingerprint()
    for one in contestants:
        obstacle = one.obstacle(measure.train)
        if obstacle is not None:
            yield skipped_entry(one.name, obstacle)
            continue
        made = found_again(one, measure.seed, fingerprint=fingerprint, workspace=workspace)
        if made is None:
            with onlooker.learning(one.name) as watch:
                terms = Terms(measure.seed, measure.threads, watch)
                made = learned(one, measure.train, terms, fingerprint=fingerprint, workspace=workspace)
        yield _measured(one.name, made, measure, ())
    for name, model in given.items():
        yield _measured(
            name, Learned(model, None, folder=Path(name)), measure, tuple(_doubts(model, measure))
        )


def _measured(name: str, made: Learned, measure: _Measure, notes: tuple[str, ...]) -> Entry:
    held = seen_by(measure.held_out, made.model.users, made.model.products)
    return measured_entry(
        name,
        made,
        held,
        measure.train,
        at=measure.at,
        include_purchased=measure.include_purchased,
        seed=measure.seed,
        threads=measure.threads,
        notes=notes,
        metric=measure.metric,
        segments=measure.segments,
        keep_model=name == measure.chosen,
    )


def _doubts(model: TasteModel, measure: _Measure) -> Iterator[str]:
    """Say what makes the comparison with a given model unequal."""
    if model.record.data_fingerprint == measure.train.fingerprint():
        return
    yield "learned from other purchases than TRAIN"
    seen = share_seen(learned_from(model), seen_by(measure.held_out, model.users, model.products))
    known = share_seen(measure.train, seen_by(measure.held_out, measure.train.users, measure.train.products))
    if seen > known:
        yield f"has seen {seen:.0%} of what is held out, {known:.0%} of which is in TRAIN"


def _notes(train: Purchases, held_out: Purchases, common: Purchases) -> Iterator[str]:
    """Say what was left out of the measurement, and what spoils it."""
    left_out = len(held_out) - len(common)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", LeakWarning)
        check_no_leak(train, common, repeats=True)
    yield from (str(one.message) for one in heard)
    if left_out:
        yield f"{left_out:,} held-out purchases are of users whom not every model knows; they are not measured."
    known = seen_by(common, train.users, train.products)
    strange = int((known.product_rows >= len(train.products)).sum())
    if strange:
        yield f"{strange:,} held-out purchases are of products that TRAIN does not know; no model learned from it can find them."
    seen = share_seen(train, known)
    if seen:
        yield f"{seen:.1%} of the held-out pairs stand in train, too: purchases made again, or a leak."


def _few(entries: Sequence[Entry], chosen: str, metric: str) -> Iterator[str]:
    """Say when too few users have a hit for intervals and tests to mean much (`bca_ends`)."""
    values = {entry.name: entry.report.values[metric] for entry in entries if entry.report is not None}
    hits = int((values[chosen] > 0).sum()) if chosen in values else FEW
    if hits < FEW:
        yield (
            f"Of {len(values[chosen]):,} users {hits} have any {metric} from {chosen}: "
            "with so few, intervals and p-values say little."
        )


def _workspace(folder: Path) -> Path:
    """Refuse before anything is learned a place where nothing can be kept."""
    if folder.exists() and not folder.is_dir():
        raise SettingProblem(f"the workspace {folder} is a file; give a folder, which may be a new one.")
    return folder


def _parted(models: Sequence[str | Path]) -> tuple[list[str], list[Path]]:
    """Tell names from folders: a name of a contestant is that, anything else a folder if there is one."""
    asked, folders = [], []
    for model in models:
        if isinstance(model, Path) or (model not in names() and Path(model).exists()):
            folders.append(Path(model))
        else:
            asked.append(model)
    return asked, folders


def _cutoffs(metrics: Sequence[str], at: Sequence[int]) -> tuple[int, ...]:
    """Return every list length to measure at; raise `SettingProblem` when a metric has no value of a user."""
    lengths = set(at)
    if not metrics:
        raise SettingProblem(f"no metric was given to compare by; give one, such as {DEFAULT_METRIC}.")
    for metric in metrics:
        name, _, k = metric.partition("@")
        if name not in USER_METRICS or not (k.isascii() and k.isdigit() and int(k)):
            known = ", ".join(USER_METRICS)
            raise SettingProblem(
                f"{metric!r} is no metric to compare by; write NAME@K, such as {DEFAULT_METRIC}, of {known}."
            )
        lengths.add(int(k))
    return tuple(sorted(lengths))
