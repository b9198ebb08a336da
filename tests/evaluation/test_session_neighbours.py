from __future__ import annotations

import numpy as np
import pytest
from replay_worlds import random_shop

from tastemaker.evaluation.replay.baselines.recent import RecentBestSellers
from tastemaker.evaluation.replay.baselines.session_neighbours import (
    DAY,
    LONGEST,
    OWN,
    RECENT,
    REST,
    NeighbourSettings,
    SessionNeighbours,
)
from tastemaker.ranking.live.answers import asked_of
from tastemaker.ranking.live.timeline import timeline_of
from tastemaker.training.baselines.best_sellers import best_sellers


def slow_neighbours(timeline, user, known, now, products, settings):
    """The same from the definition: dictionaries, one event after the other."""
    events = [
        (int(u), int(p), int(t))
        for u, p, t in zip(timeline.user_rows, timeline.product_rows, timeline.times, strict=True)
    ]
    events = events[:known]
    own = list(dict.fromkeys(p for u, p, _ in reversed(events) if u == user and p < products))[:OWN]
    like = {}
    for place, product in enumerate(own):
        touched = {u for u, p, _ in [event for event in events if event[1] == product][-RECENT:]} - {user}
        for other in touched:
            like[other] = like.get(other, 0) + settings.place_decay**place
    histories = {other: [(p, t) for u, p, t in events if u == other][-LONGEST:] for other in like}
    like = {other: weight / len(histories[other]) ** 0.5 for other, weight in like.items()}
    best = sorted(like, key=lambda other: (-np.float32(like[other]), other))[: settings.neighbours]
    scores = {}
    for other in best:
        for p, t in histories[other]:
            if p < products:
                scores[p] = scores.get(p, 0) + like[other] * 0.5 ** ((now - t) / DAY / settings.half_life)
    return scores


@pytest.mark.parametrize("neighbours", [2, 100])
def test_scores_are_those_of_the_definition(neighbours):
    train, later = random_shop(9)
    timeline = timeline_of(best_sellers(train), later)
    settings = NeighbourSettings(0.8, neighbours, 20.0)
    products = len(train.products)
    asking = np.flatnonzero(timeline.later >= 0)
    users, times = timeline.user_rows[asking], timeline.times[asking]
    asked = asked_of(timeline, users, times, products=products)
    rest = RecentBestSellers(timeline, products, half_life=9.0)
    scoring = SessionNeighbours(timeline, rest, products, settings, threads=2).answer(asked)
    for q in range(len(asked)):
        low, high = scoring.extra.offsets[q], scoring.extra.offsets[q + 1]
        found = dict(zip(scoring.extra.rows[low:high].tolist(), scoring.extra.scores[low:high], strict=True))
        expected = slow_neighbours(timeline, users[q], int(asked.known[q]), int(times[q]), products, settings)
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, rel=1e-5)
    assert np.abs(scoring.biases).max() < 50 * REST
