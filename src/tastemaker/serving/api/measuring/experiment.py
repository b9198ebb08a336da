"""The API's view of an experiment: what it found so far, and what the day brought."""

from __future__ import annotations

import time

import msgspec

from tastemaker.serving.api.measuring.schemas import ExperimentAnswer
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.schemas import ModelQuery
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["experiment"]


async def experiment(request: RequestInfo, query: ModelQuery) -> ExperimentAnswer:
    """Answer ``GET /api/v1/experiment``: the figures of the model's running experiment, else of its last, and of the day."""
    name = chosen(request, query).name
    folder = request.service.registry.models[name].state
    found = await request.service.measuring.figures.of(name, folder)
    age = max(0.0, time.time() - found.at / 1e6)
    return msgspec.convert(
        {
            "model": name,
            "at": found.at,
            "age_seconds": round(age, 3),
            "experiment": found.experiment,
            "report": found.report,
            "today": found.today,
            "problem": found.problem,
        },
        ExperimentAnswer,
        strict=False,
    )
