"""A pool of threads: every part once, errors told, no thread left behind."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool, default_threads


@given(threads=st.integers(1, 9), parts=st.lists(st.integers(0, 40), max_size=4))
@settings(deadline=None, max_examples=40)
def test_every_part_is_done_once_whatever_the_number_of_threads(threads, parts):
    with ThreadPool(threads) as pool:
        for count in parts:
            done, shares = [0] * count, []

            def work(low, high, done=done, shares=shares):
                shares.append((low, high))
                for part in range(low, high):
                    done[part] += 1

            pool.run(work, count)
            assert done == [1] * count
            assert len(shares) == max(1, min(threads, count))


@pytest.mark.parametrize("bad", [[0], [3], [0, 1, 2, 3], [1, 2]])
def test_an_error_of_a_part_is_raised_after_all_parts_have_ended(bad):
    done = []

    def work(low, high):
        if low in bad:
            raise ValueError(f"part {low}")
        done.append(low)

    with ThreadPool(4) as pool:
        with pytest.raises(ValueError, match="part"):
            pool.run(work, 4)
        assert sorted(done) == [part for part in range(4) if part not in bad]
        done.clear()
        bad = []
        pool.run(work, 4)  # and the pool works on
        assert sorted(done) == [0, 1, 2, 3]


def test_the_threads_end_with_the_crew():
    before = set(threading.enumerate())  # those of earlier crews may be ending just now
    with ThreadPool(5) as pool:
        pool.run(lambda low, high: None, 5)
        members = set(threading.enumerate()) - before
        assert len(members) == 4
    for thread in members:
        thread.join(10)
    assert not any(thread.is_alive() for thread in members)


def test_the_threads_end_when_the_block_fails():
    def fail():
        with ThreadPool(3):
            members.extend(t for t in threading.enumerate() if t.name.startswith("tastemaker-"))
            raise RuntimeError("out")

    members = []
    with pytest.raises(RuntimeError, match="out"):
        fail()
    for thread in members:
        thread.join(10)
    assert not any(thread.is_alive() for thread in members)


def test_without_a_number_there_is_a_thread_for_each_processor():
    assert ThreadPool().threads == default_threads() >= 1


@pytest.mark.parametrize("threads", [0, -1])
def test_a_crew_of_nobody_is_refused(threads):
    with pytest.raises(SettingProblem, match=f"threads is {threads}; it must be at least 1"):
        ThreadPool(threads)
