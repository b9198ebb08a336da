"""`replay`: a model and what happened later in, a `ReplayReport` out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.ragged import distinct
from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.given import AnyHeldOut, later_given
from tastemaker.data.reading.remedies import told_to_caller
from tastemaker.evaluation.replay.baselines.every import baselines
from tastemaker.evaluation.replay.bench import FIRST_EVENT, Bench, Terms, bench_of
from tastemaker.evaluation.replay.later import missing_in, reading_of_later
from tastemaker.evaluation.replay.report import Measured, ReplayReport
from tastemaker.evaluation.replay.since import since_of
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.live.answers import Answers, PlainAnswers
from tastemaker.ranking.live.living import LivingAnswers
from tastemaker.types import Times

__all__ = ["measure_model", "replay", "replay_on", "report_on"]


def replay(
    model: TasteModel,
    later: AnyHeldOut,
    *,
    at: Sequence[int] = (10, 100),
    include_purchased: bool = False,
    frozen: bool = False,
    since: Times | Catalogue | Literal["first event"] | None = None,
    beside: Sequence[str] | None = None,
    threads: int | None = None,
) -> ReplayReport:
    """Ask for every later purchase what the model would have shown just before it, and measure the answers.

    Known at a moment is what a live server would know: the model, and every event before that moment. Purchases of one time do not
    see each other. What the user bought before is no question unless ``include_purchased``. With ``frozen`` only the user's own
    history grows. ``since`` makes each product a candidate from a moment on: ``int64[P]`` in microseconds since 1970, or a
    catalogue with a column ``since`` (where that is empty, the product is always one), or ``"first event"``.
    ``beside`` are the baselines to measure beside the model, all by default.

    Raises `ColumnProblem` when ``later`` has no times, `NoPurchases` when it holds no question, and `SettingProblem` for a name
    that is no baseline.

    >>> import polars as pl
    >>> import tastemaker as tm
    >>> days = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
    >>> log = pl.DataFrame({"user": ["ann", "bob", "ann", "cat"], "product": ["hat", "hat", "sock", "hat"], "date": days})
    >>> model = tm.best_sellers(tm.read_purchases(log[:2]))
    >>> report = tm.replay(model, tm.read_purchases(log[2:]), beside=[])
    >>> report.purchases, report.not_findable, report.metrics["hit_rate@10"].mean
    (2, 1, 0.5)
    """
    with told_to_caller():
        log = later_given(later, reading=reading_of_later(model, later))
        if since is not None and not isinstance(since, np.ndarray) and not _is_first_event(since):
            since = since_of(since, model.products, unit=log.time_unit)
        terms = Terms(at=at, include_purchased=include_purchased, frozen=frozen, since=since, threads=threads)
        return replay_on(model, log, terms, beside)


def _is_first_event(since: Catalogue) -> bool:
    return isinstance(since, str) and since == FIRST_EVENT


def replay_on(
    model: TasteModel, later: Purchases, terms: Terms, beside: Sequence[str] | None = None
) -> ReplayReport:
    """Return what `replay` returns, on the given terms."""
    bench = bench_of(model, later, terms)
    found, skipped = baselines(bench, beside)
    return report_on(bench, measure_model(model, bench), found, skipped, missing=missing_in(model, later))


def measure_model(model: TasteModel, bench: Bench) -> Measured:
    """Return what a model's answers are worth."""
    terms = bench.terms
    include, threads = terms.include_purchased, terms.threads
    answers: Answers
    if model.is_plain and model.live is None:
        answers = PlainAnswers(model, bench.timeline, include_purchased=include, threads=threads)
    else:
        answers = LivingAnswers(
            model,
            bench.timeline,
            bench.later,
            include_purchased=include,
            frozen_at=bench.frozen_at,
            threads=threads,
        )
    return bench.measured(answers, whole=True)


def report_on(
    bench: Bench,
    model: Measured,
    found: dict[str, Measured],
    skipped: dict[str, str],
    *,
    missing: Sequence[str] = (),
) -> ReplayReport:
    """Return the report of what was measured; ``missing`` says what the model would use and LATER lacks."""
    questions, terms = bench.questions, bench.terms
    lost = questions.products >= bench.products
    if bench.since is not None:
        inside = np.flatnonzero(~lost)
        lost[inside] = bench.since[questions.products[inside]] > questions.times[inside]
    return ReplayReport(
        purchases=len(questions),
        users=len(distinct(questions.users)),
        not_findable=int(lost.sum()),
        left_out=questions.left_out,
        candidates=bench.candidates,
        products=bench.products,
        frozen=terms.frozen,
        include_purchased=terms.include_purchased,
        model=model,
        baselines=found,
        skipped=skipped,
        notes=(*_notes(bench), *missing),
        questions=questions,
    )


def _notes(bench: Bench) -> Iterator[str]:
    """Say what makes a replay less than it should be."""
    if bench.timeline.undated:
        yield "The model does not know when its own purchases were made: they count as of just before LATER."
    early = int((bench.questions.times <= bench.cut).sum())
    if early:
        yield (
            f"{early:,} questions are not later than the last purchase that the model learned from: "
            "it may have learned from what came after them."
        )
