"""`compare_replay`: models learned from one log, asked the same questions in time, tested against each other and simple rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.comparison.compare import Onlooker
from tastemaker.evaluation.comparison.contestants import LearningTerms, contestant
from tastemaker.evaluation.comparison.verdict import Test, headline, sentences
from tastemaker.evaluation.comparison.workspace import found_again, learned
from tastemaker.evaluation.paired import compare_paired, holm
from tastemaker.evaluation.replay.baselines.every import BASELINES, baselines
from tastemaker.evaluation.replay.bench import Bench, Terms, bench_of
from tastemaker.evaluation.replay.later import missing_in
from tastemaker.evaluation.replay.questions import Questions
from tastemaker.evaluation.replay.replay import measure_model, report_on
from tastemaker.evaluation.replay.report import Measured, ReplayReport, gains
from tastemaker.model.folder import load
from tastemaker.model.taste_model import TasteModel
from tastemaker.types import Doubles

__all__ = ["ReplayComparison", "compare_replay"]


@dataclass(frozen=True, slots=True)
class ReplayComparison:
    """Several models and simple rules on the questions of one replay; the first model is tested against all others."""

    report: ReplayReport
    """The chosen model's replay, and the baselines beside it"""
    chosen: str
    others: dict[str, Measured]
    """Further models, by name"""
    tests: tuple[Test, ...]
    metric: str

    @property
    def measured(self) -> dict[str, Measured]:
        """Return everything that was measured, the chosen model first."""
        return {self.chosen: self.report.model, **self.others, **self.report.baselines}

    @property
    def headline(self) -> str:
        """Return how the chosen model stands, in a few words."""
        return headline(self.tests, self.chosen, self.metric)

    @property
    def verdict(self) -> str:
        """Return what the tests say, in a sentence."""
        return " ".join(sentences(self.tests, self.chosen, [self.metric]))

    def as_dict(self) -> dict[str, Any]:
        """Return what ``compare --replay --json`` prints."""
        found = self.report.as_dict()
        facts = (
            "purchases",
            "users",
            "not_findable",
            "left_out",
            "candidates",
            "products",
            "frozen",
            "include_purchased",
        )
        return {
            **{name: found[name] for name in facts},
            "chosen": self.chosen,
            "models": {self.chosen: self.report.model.as_dict()}
            | {name: other.as_dict() for name, other in self.others.items()},
            "baselines": found["baselines"],
            "skipped": found["skipped"],
            "tests": [test.as_dict() for test in self.tests],
            "verdict": self.verdict,
            "notes": found["notes"],
        }


def compare_replay(
    train: Purchases,
    later: Purchases,
    *,
    models: Sequence[str | Path] = (),
    terms: Terms = Terms(),  # noqa: B008  (a frozen value)
    metric: str | None = None,
    workspace: Path | None = None,
    onlooker: Onlooker = Onlooker(),  # noqa: B008
) -> ReplayComparison:
    """Learn models from ``train``, replay ``later`` for each, and test the first one against all others and every baseline.

    ``models`` are names of `compare` (the default model without any), or folders of models that learned from the very same log.
    A model takes the place of the baseline of its name. Differences are tested by ``metric`` (ndcg of the longest list) with users
    flipped as wholes: a user's questions stay together.

    Raises `SettingProblem` for an unknown name, metric or a model of another log, and what `replay` raises.
    """
    metric = metric or f"ndcg@{max(terms.at)}"
    known = list(gains(np.zeros(0, np.int32), terms.at))
    if metric not in known:
        raise SettingProblem(f"{metric!r} is no metric of this replay; it measures {', '.join(known)}.")
    named = dict(_models(train, models or ["default"], terms, workspace, onlooker))
    chosen = next(iter(named))
    bench = bench_of(named[chosen], later, terms)
    others = {
        name: measure_model(model, bench_of(model, later, terms))
        for name, model in named.items()
        if name != chosen
    }
    asked = {name.replace("-", " ") for name in named} | set(named)
    beside = [name for name in BASELINES if name not in asked]
    report = report_on(
        bench,
        measure_model(named[chosen], bench),
        *baselines(bench, beside),
        missing=missing_in(named[chosen], later),
    )
    together = {**others, **report.baselines}
    return ReplayComparison(report, chosen, others, _tests(report, together, metric, bench), metric)


def _models(
    train: Purchases, asked: Sequence[str | Path], terms: Terms, workspace: Path | None, onlooker: Onlooker
) -> Mapping[str, TasteModel]:
    """Return the models by name, learned or loaded."""
    fingerprint = train.fingerprint()
    found = {}
    for model_name in dict.fromkeys(asked):
        if isinstance(model_name, Path) or Path(model_name).is_dir():
            model = load(model_name)
            if model.record.data_fingerprint != fingerprint:
                raise SettingProblem(
                    f"{model_name} learned from another log than TRAIN, so that it would be asked other questions; "
                    "replay it by itself."
                )
            found[str(model_name)] = model
            continue
        who = contestant(model_name)
        obstacle = who.obstacle(train)
        if obstacle is not None:
            raise SettingProblem(f"{model_name} cannot be learned here: {obstacle}.")
        made = found_again(who, terms.seed, fingerprint=fingerprint, workspace=workspace)
        if made is None:
            with onlooker.learning(model_name) as watch:
                learning = LearningTerms(terms.seed, terms.threads, watch)
                made = learned(who, train, learning, fingerprint=fingerprint, workspace=workspace)
        found[model_name] = made.model
    return found


def _tests(
    report: ReplayReport, others: Mapping[str, Measured], metric: str, bench: Bench
) -> tuple[Test, ...]:
    values = {
        name: _by_user(measured, bench.questions, metric, bench.terms.at)
        for name, measured in {"": report.model, **others}.items()
    }
    found = [
        compare_paired(values[""], values[name], rng=np.random.default_rng(bench.terms.seed))
        for name in others
    ]
    corrected = holm([difference.p_value for difference in found])
    return tuple(
        Test(metric, name, difference, float(p))
        for name, difference, p in zip(others, found, corrected, strict=True)
    )


def _by_user(measured: Measured, questions: Questions, metric: str, at: Sequence[int]) -> Doubles:
    """Return each user's part of the mean over questions, ``float64[users]``; the mean of these parts is that mean."""
    users, numbers = np.unique(questions.users, return_inverse=True)
    sums = np.bincount(numbers, weights=gains(measured.ranks, at)[metric], minlength=len(users))
    parts: Doubles = np.asarray(sums * (len(users) / len(questions)), np.float64)
    return parts
