"""The kernels of what was known before a moment, against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.kernels.counting.known import last_of_each, spans_before

EVENT = st.tuples(st.integers(0, 5), st.integers(0, 70), st.integers(0, 3))


@st.composite
def pasts(draw):
    """Events (time, product, kind) of each user in the order of time, and questions (user, moment)."""
    users = [
        sorted(events, key=lambda event: event[0])
        for events in draw(st.lists(st.lists(EVENT, max_size=9), max_size=5))
    ]
    questions = draw(st.lists(st.tuples(st.integers(-1, len(users) + 1), st.integers(0, 7)), max_size=9))
    return users, questions


def columns(users):
    """The offsets, times, products and kinds of some users' events."""
    offsets = np.concatenate(([0], np.cumsum([len(events) for events in users]))).astype(np.int64)
    flat = np.array([event for events in users for event in events], np.int64).reshape(-1, 3)
    return offsets, flat[:, 0].copy(), flat[:, 1].astype(np.int32), flat[:, 2].astype(np.int16)


def spans(users, questions):
    offsets, times, _, _ = columns(users)
    low, high = np.full((2, len(questions)), -7, np.int64)
    who = np.array([user for user, _ in questions], np.int64)
    spans_before(offsets, times, who, np.array([moment for _, moment in questions], np.int64), low, high)
    return low, high


def before(users, question):
    """The events of a user strictly before a moment."""
    user, moment = question
    events = users[user] if 0 <= user < len(users) else []
    return [event for event in events if event[0] < moment]


@given(world=pasts())
@settings(deadline=None, max_examples=200)
def test_a_span_holds_what_a_user_did_strictly_before_a_moment(world):
    users, questions = world
    flat = [event for events in users for event in events]
    low, high = spans(users, questions)
    for q, question in enumerate(questions):
        assert flat[low[q] : high[q]] == before(users, question)


@given(world=pasts(), purchases=st.booleans(), all_alike=st.booleans())
@settings(deadline=None, max_examples=200)
def test_the_last_event_of_each_kind_and_product_is_found(world, purchases, all_alike):
    users, questions = world
    _, _, products, kinds = columns(users)
    low, high = spans(users, questions)
    counts = np.full(len(questions), -7, np.int64)
    places = np.full(int((high - low).sum()) + 1, -7, np.int64)
    given_kinds = np.zeros(0, np.int16) if all_alike else kinds
    last_of_each(low, high, products, given_kinds, purchases, counts, places)
    start = 0
    for q in range(len(questions)):
        last = {}
        for place in range(low[q], high[q]):
            kind = 0 if all_alike else int(kinds[place])
            if (kind == 0) == purchases:
                last[kind, int(products[place])] = place
        found = places[start : start + counts[q]].tolist()
        assert found == [last[key] for key in sorted(last)]
        start += counts[q]
    assert (places[start:] == -7).all()  # nothing is written beside them
