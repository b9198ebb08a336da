"""The memory's kernels against dense matrices: who is bought with whom, ridge regression, and sums over baskets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.kernels.counting.memory import add_up, partners_of, room_for_sums, solve_neighbours


def ragged(lists, dtype=np.int32):
    """Offsets and values of some lists, one after another."""
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in lists]))).astype(np.int64)
    return offsets, np.array([value for part in lists for value in part], dtype)


def find_partners(baskets, products, most, user_weights, product_weights, parts=None):
    """Run `partners_of` over all products and return ``{p: {q: co_occurrence}}`` with the order it was written in."""
    history_offsets, histories = ragged([sorted(basket) for basket in baskets])
    buyers = [[u for u, basket in enumerate(baskets) if p in basket] for p in range(products)]
    buyer_offsets, users = ragged(buyers)
    found = {}
    for low, high in parts or [(0, products)]:
        partners = np.full((high - low, most), -7, np.int32)
        co_occurrence = np.full((high - low, most), np.nan, np.float32)
        counts = np.full(high - low, -1, np.int64)
        partners_of(
            low, high, buyer_offsets, users, history_offsets, histories,
            np.array(user_weights, np.float32), np.array(product_weights, np.float32), np.float32(1),
            partners, co_occurrence, counts,
        )  # fmt: skip
        for p in range(low, high):
            kept = counts[p - low]
            found[p] = list(
                zip(partners[p - low, :kept].tolist(), co_occurrence[p - low, :kept].tolist(), strict=True)
            )
            assert (partners[p - low, kept:] == -7).all()  # nothing is written beyond the count
    return found


def expected_partners(baskets, products, most, user_weights, product_weights):
    """The same by a dense matrix, a full sort and Python's own order of (-value, row)."""
    co_occurrence = np.zeros((products, products))
    for basket, weight in zip(baskets, user_weights, strict=True):
        for p in basket:
            for q in basket:
                co_occurrence[p, q] += weight
    found = {}
    for p in range(products):
        known = [q for q in range(products) if q != p and co_occurrence[p, q] > 0]
        best = sorted(known, key=lambda q: (-co_occurrence[p, q] * product_weights[q], q))[:most]
        found[p] = [(q, co_occurrence[p, q]) for q in sorted(best)]
    return found


@st.composite
def logs(draw):
    """Baskets of few products, with weights in quarters so that every sum is exact in float32; ties are common."""
    products = draw(st.integers(1, 9))
    baskets = draw(st.lists(st.sets(st.integers(0, products - 1), max_size=6), max_size=12))
    weights = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])
    user_weights = draw(st.lists(weights, min_size=len(baskets), max_size=len(baskets)))
    product_weights = draw(st.lists(weights, min_size=products, max_size=products))
    return baskets, products, draw(st.integers(1, 9)), user_weights, product_weights


@given(log=logs())
@settings(deadline=None, max_examples=200)
def test_partners_are_those_of_a_dense_count_and_a_full_sort(log):
    assert find_partners(*log) == expected_partners(*log)


def test_of_equal_partners_the_lower_rows_are_kept():
    found = find_partners([{0, 4, 2, 6, 3}], 7, 2, [1.0], [1.0] * 7)
    assert found[0] == [(2, 1.0), (3, 1.0)]
    assert found[3] == [(0, 1.0), (2, 1.0)]
    assert found[1] == []


def test_a_user_of_weight_zero_says_nothing():
    assert find_partners([{0, 1}, {0, 2}], 3, 5, [0.0, 0.5], [1.0] * 3) == {
        0: [(2, 0.5)],
        1: [],
        2: [(0, 0.5)],
    }


def test_a_product_of_weight_zero_is_a_partner_that_comes_last():
    baskets = [{0, 1}, {0, 1}, {0, 2}]
    assert find_partners(baskets, 3, 2, [1.0] * 3, [1.0, 0.0, 1.0])[0] == [(1, 2.0), (2, 1.0)]
    assert find_partners(baskets, 3, 1, [1.0] * 3, [1.0, 0.0, 1.0])[0] == [(2, 1.0)]


def test_products_found_in_parts_are_those_found_at_once():
    rng = np.random.default_rng(5)
    baskets = [set(rng.choice(30, rng.integers(1, 8), replace=False).tolist()) for _ in range(60)]
    weights = [len(basket) ** -0.5 for basket in baskets]
    rarity = rng.random(30).tolist()
    whole = find_partners(baskets, 30, 6, weights, rarity)
    assert find_partners(baskets, 30, 6, weights, rarity, [(0, 11), (11, 12), (12, 30)]) == whole
    expected = expected_partners(baskets, 30, 6, weights, rarity)
    for p in range(30):
        assert [q for q, _ in whole[p]] == [q for q, _ in expected[p]]
        np.testing.assert_allclose([w for _, w in whole[p]], [w for _, w in expected[p]], rtol=1e-6)


# --- Ridge regression --------------------------------------------------------------------------------------------------------


def table_of(gram, pool=None):
    """The sparse rows of a dense matrix off its diagonal, of each the ``pool`` greatest."""
    rows = []
    for p in range(len(gram)):
        known = [q for q in range(len(gram)) if q != p and gram[p, q] != 0]
        rows.append(sorted(sorted(known, key=lambda q: (-gram[p, q], q))[:pool]))
    offsets, partners = ragged(rows)
    co_occurrence = np.array([gram[p, q] for p, row in enumerate(rows) for q in row], np.float32)
    return offsets, partners, co_occurrence, np.diag(gram).astype(np.float32)


def solved(table, penalty, most, parts=None):
    """By the lists alone, and to the same bytes with the table of all pairs, too."""
    products, found = len(table[0]) - 1, []
    dense = np.zeros((products, products), np.float32)
    dense[np.repeat(np.arange(products), np.diff(table[0])), table[1]] = table[2]
    for pairs in (np.zeros((0, 0), np.float32), dense):
        neighbours = np.full((products, most), -7, np.int32)
        weights, counts = np.full((products, most), np.nan, np.float32), np.zeros(products, np.int64)
        for low, high in parts or [(0, products)]:
            solve_neighbours(
                low, high, *table[:3], pairs, table[3], penalty,
                neighbours[low:high], weights[low:high], counts[low:high],
            )  # fmt: skip
        found.append((neighbours, weights, counts))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    return [(neighbours[p, : counts[p]].tolist(), weights[p, : counts[p]]) for p in range(products)]


def gram_of(users, products, seed):
    rng = np.random.default_rng(seed)
    bought = rng.random((users, products)) < np.linspace(0.5, 0.05, products)
    return bought.astype(np.float64).T @ bought


@pytest.mark.parametrize(("products", "most"), [(12, 12), (12, 4), (12, 1), (60, 25), (2, 5), (1, 3)])
def test_weights_solve_the_normal_equations_of_the_neighbours(products, most):
    gram, penalty = gram_of(300, products, products), 7.5
    for p, (neighbours, weights) in enumerate(solved(table_of(gram), penalty, most)):
        known = [q for q in range(products) if q != p and gram[p, q]]
        near = sorted(known, key=lambda q: (-(gram[p, q] / np.sqrt(gram[q, q])), q))[:most]
        assert neighbours == sorted(near)
        system = gram[np.ix_(neighbours, neighbours)] + penalty * np.eye(len(neighbours))
        expected = np.linalg.solve(system, gram[neighbours, p])
        np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-6)


def test_among_all_neighbours_the_weights_are_those_of_ease():
    """EASE (H. Steck 2019): B = I - P · diag(1 / diag P), P the inverse of G + λI."""
    gram, penalty = gram_of(400, 15, 3), 20.0
    assert (gram > 0).all()
    inverse = np.linalg.inv(gram + penalty * np.eye(15))
    ease = -inverse / np.diag(inverse)
    for p, (neighbours, weights) in enumerate(solved(table_of(gram), penalty, 14)):
        assert neighbours == [q for q in range(15) if q != p]
        np.testing.assert_allclose(weights, ease[neighbours, p], rtol=1e-4, atol=1e-6)


def test_an_entry_that_only_one_of_two_rows_kept_counts_for_both():
    """Where the pool cut q's row but not j's, the matrix is still symmetric."""
    gram = gram_of(300, 20, 9)
    table = table_of(gram, pool=6)
    offsets, partners, co_occurrence, _ = table
    known = np.zeros_like(gram)
    for p in range(20):
        part = slice(offsets[p], offsets[p + 1])
        known[p, partners[part]] = co_occurrence[part]
    known = np.maximum(known, known.T) + np.diag(np.diag(gram))
    for p, (neighbours, weights) in enumerate(solved(table, 5.0, 6)):
        system = known[np.ix_(neighbours, neighbours)] + 5.0 * np.eye(len(neighbours))
        np.testing.assert_allclose(
            weights, np.linalg.solve(system, gram[neighbours, p]), rtol=1e-4, atol=1e-5
        )


def test_a_product_never_bought_with_another_has_no_neighbour():
    gram = np.diag([3.0, 2.0, 0.0])
    assert [neighbours for neighbours, _ in solved(table_of(gram), 1.0, 4)] == [[], [], []]


def test_products_solved_in_parts_are_those_solved_at_once():
    table = table_of(gram_of(200, 30, 1))
    whole, parts = solved(table, 3.0, 8), solved(table, 3.0, 8, [(20, 30), (0, 7), (7, 20)])
    for one, other in zip(whole, parts, strict=True):
        assert (one[0], one[1].tobytes()) == (other[0], other[1].tobytes())


# --- Sums over baskets -------------------------------------------------------------------------------------------------------


def added_up(memory, baskets, products, damping, parts=None):
    """Return each query's {row: score} in the order written, and that nothing is written beside them."""
    memory_offsets, memory_products = ragged([sorted(row) for row in memory])
    memory_weights = np.array([row[q] for row in memory for q in sorted(row)], np.float32)
    basket_offsets, held = ragged(baskets)
    counts = np.full(len(baskets), -1, np.int64)
    found: list[list[tuple[int, float]]] = [[] for _ in baskets]
    for low, high in parts or [(0, len(baskets))]:
        most = sum(min(sum(len(memory[p]) for p in basket), products) for basket in baskets[low:high])
        rows, scores = np.full(2 + most, -7, np.int32), np.full(2 + most, -7, np.float32)
        add_up(
            low, high, basket_offsets, held, damping, memory_offsets, memory_products, memory_weights, products,
            2, counts, rows, scores,
        )  # fmt: skip
        end = 2
        for q in range(low, high):
            begin, end = end, end + counts[q]
            found[q] = list(zip(rows[begin:end].tolist(), scores[begin:end].tolist(), strict=True))
        assert set(rows[:2]) | set(rows[end:]) | set(scores[:2]) | set(scores[end:]) == {-7}
    return found


@st.composite
def memories(draw):
    products = draw(st.integers(1, 8))
    row = st.dictionaries(st.integers(0, products - 1), st.sampled_from([-1.5, -0.25, 0.0, 0.5, 2.0]))
    memory = draw(st.lists(row, min_size=products, max_size=products))
    baskets = draw(st.lists(st.lists(st.integers(0, products - 1), max_size=6, unique=True), max_size=8))
    return memory, baskets, products, draw(st.sampled_from([0.0, 0.25, 1.0]))


@given(world=memories())
@settings(deadline=None, max_examples=200)
def test_a_baskets_scores_are_the_damped_sum_of_its_rows(world):
    memory, baskets, _, damping = world
    for basket, found in zip(baskets, added_up(*world), strict=True):
        known = sorted({q for p in basket for q in memory[p]})  # also where weights are 0 or cancel out
        assert [row for row, _ in found] == known
        scale = len(basket) ** -damping if basket else 1
        expected = [scale * sum(memory[p].get(q, 0) for p in basket) for q in known]
        np.testing.assert_allclose([score for _, score in found], expected, rtol=1e-6, atol=1e-7)


def test_an_empty_basket_recalls_nothing_and_a_single_product_its_own_row():
    memory = [{1: 0.3, 2: 0.1}, {0: 0.7}, {}]
    found = added_up(memory, [[], [0], [2]], 3, 0.9)
    assert found[0] == found[2] == []
    assert found[1] == [(1, pytest.approx(0.3)), (2, pytest.approx(0.1))]


def test_queries_added_up_in_parts_are_those_added_up_at_once():
    rng = np.random.default_rng(2)
    memory = [
        dict.fromkeys(rng.choice(40, 9, replace=False).tolist(), float(rng.random())) for _ in range(40)
    ]
    baskets = [rng.choice(40, rng.integers(0, 12), replace=False).tolist() for _ in range(20)]
    whole = added_up(memory, baskets, 40, 0.25)
    assert added_up(memory, baskets, 40, 0.25, [(13, 20), (0, 1), (1, 13)]) == whole


@given(world=memories())
@settings(deadline=None, max_examples=200)
def test_there_is_room_for_what_a_baskets_rows_have_together_or_for_all_products(world):
    memory, baskets, products, _ = world
    memory_offsets, _ = ragged(memory)
    basket_offsets, held = ragged(baskets)
    room = np.full(len(baskets) + 1, -7, np.int64)
    room_for_sums(basket_offsets, held, memory_offsets, products, room)
    most = [min(sum(len(memory[p]) for p in basket), products) for basket in baskets]
    assert room.tolist() == [0, *np.cumsum(most).tolist()]
