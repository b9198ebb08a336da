"""Refunds take purchases back, as if they had never been made."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.reading.values.refunds import taken_back

READING = Reading(
    event_column="event", events={"purchase": ("sale",), "refund": ("refund", "cancelled"), "view": ("view",)}
)


def log(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "product_id", "date", "event"], orient="row")


def test_a_refund_takes_back_the_latest_purchase_before_it():
    found = read_purchases(
        log(
            ("a", "hat", "2024-01-01", "sale"), ("a", "hat", "2024-01-03", "sale"), ("a", "hat", "2024-01-09", "sale"),
            ("a", "hat", "2024-01-05", "refund"), ("b", "hat", "2024-01-04", "sale"), ("b", "sock", "2024-01-06", "sale"),
        ),
        reading=READING,
    )  # fmt: skip
    frame = found.to_frame()
    assert sorted(frame["time"].dt.day().to_list()) == [1, 4, 6, 9]
    assert found.read.reasons() == {"taken_back": 1, "refunds": 1}
    assert "1 taken back by a refund, 1 refunds" in found.read.sentence()


def test_a_log_after_refunds_is_the_log_that_never_had_the_purchases():
    kept = [
        ("a", "hat", "2024-01-01", "sale"),
        ("b", "sock", "2024-01-02", "sale"),
        ("b", "hat", "2024-01-02", "view"),
    ]
    gone = [("a", "sock", "2024-01-03", "sale"), ("a", "sock", "2024-01-04", "cancelled")]
    whole, without = (read_purchases(log(*rows), reading=READING) for rows in ([*kept, *gone], kept))
    assert whole.fingerprint() == without.fingerprint()
    assert whole.events.names == ("view",)


def test_a_refund_of_nothing_is_said_and_changes_nothing():
    found = read_purchases(
        log(
            ("a", "hat", "2024-01-05", "sale"),
            ("a", "hat", "2024-01-04", "refund"),
            ("b", "hat", "2024-01-06", "refund"),
        ),
        reading=READING,
    )
    assert len(found) == 1
    assert any(warning.startswith("2 refunds name no earlier purchase") for warning in found.read.warnings)


ROW = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5), st.booleans())


@given(st.lists(ROW, min_size=1, max_size=25))
def test_what_is_taken_back_is_what_a_till_would_take_back(rows):
    """Brute force: the till goes through the rows in the order of time, purchases of one time first."""
    users, products, times, refund = (np.array(column) for column in zip(*rows, strict=True))
    gone, lost = taken_back(users, products, times.astype(np.int64), ~refund, refund)
    till, missing, expected = {}, 0, set()
    for row in sorted(range(len(rows)), key=lambda row: (times[row], refund[row], row)):
        held = till.setdefault((users[row], products[row]), [])
        if not refund[row]:
            held.append(row)
        elif held:
            expected.add(held.pop())
        else:
            missing += 1
    assert set(np.flatnonzero(gone).tolist()) == expected
    assert lost == missing
