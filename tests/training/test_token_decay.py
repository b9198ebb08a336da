"""What says something of the query has a decay of its own, and what says something of products another."""

from __future__ import annotations

import json

import numpy as np
import pytest

from beside_worlds import log_of
from tastemaker.model.config import Config, preset
from tastemaker.training.learners.composed import Composed


def decays(**settings):
    """Return the decays of the tokens of a context and of those of an attribute of products."""
    config = preset("default").changed(
        {"dimensions": 8, "epochs": 1, "decay": 0.05, "rare_decay": 0.0, **settings}
    )
    beside = Composed.start(log_of(), config, 1).beside
    return [
        np.unique(beside.decay[slice(*beside.span(column))]).tolist()
        for column in ("context:occasion", "product:made_for")
    ]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"token_decay": 0.5, "token_query_decay": 0.25}, ([0.25], [0.5])),
        ({"token_decay": 0.5, "token_query_decay": 0.0}, ([0.0], [0.5])),
        ({"token_decay": 0.5, "token_query_decay": None}, ([0.5], [0.5])),
    ],
)
def test_tokens_of_the_query_and_of_products_are_pulled_to_zero_each_by_their_own_decay(settings, wanted):
    assert decays(**settings) == list(wanted)


def test_what_was_learned_before_the_query_had_a_decay_of_its_own_has_that_of_its_products():
    values = json.loads(json.dumps(preset("default").changed(token_decay=0.5).to_json()))
    del values["token_query_decay"]
    assert Config.from_json(values).tokens.query_decay is None
