from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.purchases import Purchases
from tastemaker.data.summary import ReadSummary
from tastemaker.data.vocabulary import Vocabulary

rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40)


def purchases_of(pairs: list[tuple[int, int]], products: int = 4) -> Purchases:
    users = Vocabulary.of(list(range(5)), noun="user")
    user_rows, product_rows = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    return Purchases(users, Vocabulary.of(list(range(products)), noun="product"), user_rows, product_rows)


@given(rows)
def test_histories_are_the_distinct_products_of_each_user_ascending(pairs: list[tuple[int, int]]):
    histories = purchases_of(pairs).histories()
    expected = [sorted({product for user, product in pairs if user == each}) for each in range(5)]
    assert [histories.of(user).tolist() for user in range(5)] == expected


def test_taking_keeps_the_vocabularies_and_every_column():
    whole = purchases_of([(0, 1), (4, 3), (0, 1)])
    whole = Purchases(
        whole.users,
        whole.products,
        whole.user_rows,
        whole.product_rows,
        np.array([5, 6, 7]),
        np.array([1, 2, 3], dtype=np.float32),
    )
    part = whole.take(np.array([False, True, True]))
    assert part.users is whole.users
    assert (part.user_rows.tolist(), part.product_rows.tolist()) == ([4, 0], [3, 1])
    assert (part.times.tolist(), part.quantities.tolist()) == ([6, 7], [2.0, 3.0])


def test_fingerprints_tell_logs_and_vocabularies_apart():
    seen = {
        purchases_of([(0, 1), (1, 1)]).fingerprint(),
        purchases_of([(1, 1), (0, 1)]).fingerprint(),
        purchases_of([(0, 1)]).fingerprint(),
        purchases_of([(0, 1)], products=3).fingerprint(),
    }
    assert len(seen) == 4
    assert purchases_of([(0, 1)]).fingerprint() in seen


def test_ids_that_join_to_the_same_text_have_other_fingerprints():
    def of(*ids: str) -> str:
        users, products = Vocabulary.of(ids, noun="user"), Vocabulary.of(["p"], noun="product")
        return Purchases(users, products, np.zeros(1, np.int32), np.zeros(1, np.int32)).fingerprint()

    assert of("ab", "c") != of("a", "bc")


def test_a_summary_adds_up_and_says_so():
    summary = ReadSummary(1_000, without_user=5, without_time=2, repeats=7)
    assert (summary.dropped, summary.kept) == (7, 993)
    assert summary.sentence() == (
        "1,000 rows read, 993 kept; dropped 5 without a user id, 2 without a time; "
        "7 repeat an earlier (user, product) pair, kept."
    )
