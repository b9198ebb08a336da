"""What this machine can do: its floating-point peak and what its caches deliver, by small compiled loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from tastemaker.kernels.threads import ThreadPool

FAST = {"contract", "reassoc", "nsz", "arcp"}

KERNEL_BYTES = 4 << 10
"""The numbers of the floating-point probe stay in the first cache."""


@numba.njit(nogil=True, fastmath=FAST)
def multiply_add(x: Any, out: Any, rounds: int) -> None:
    """Do 16 fused multiply-adds a number and round: a polynomial, many of them in flight."""
    for _ in range(rounds):
        for i in range(x.shape[0]):
            a, s = x[i], out[i]
            s = (s * a + np.float32(0.1)) * a + np.float32(0.2)
            s = (s * a + np.float32(0.3)) * a + np.float32(0.4)
            s = (s * a + np.float32(0.5)) * a + np.float32(0.6)
            s = (s * a + np.float32(0.7)) * a + np.float32(0.8)
            s = (s * a + np.float32(0.9)) * a + np.float32(1.0)
            s = (s * a + np.float32(1.1)) * a + np.float32(1.2)
            s = (s * a + np.float32(1.3)) * a + np.float32(1.4)
            s = (s * a + np.float32(1.5)) * a + np.float32(1.6)
            out[i] = s


@numba.njit(nogil=True, fastmath=FAST)
def stream(x: Any, rounds: int) -> float:
    """Read an array from end to end, several times."""
    total = np.float32(0)
    for _ in range(rounds):
        for i in range(x.shape[0]):
            total += x[i]
    return float(total)


@numba.njit(nogil=True, fastmath=FAST)
def gather(table: Any, rows: Any, out: Any) -> None:
    """Add up rows that lie anywhere in a table, four at a time, as the training kernel's gradient does."""
    for j in range(0, rows.shape[0], 4):
        r0, r1, r2, r3 = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
        for d in range(table.shape[1]):
            out[d] += (table[r0, d] + table[r1, d]) + (table[r2, d] + table[r3, d])


def best_rate(task: Callable[[int], object], work: float, threads: int, times: int = 5) -> float:
    """Return the greatest rate, in units of ``work`` a second, of ``threads`` threads that each do the task at once."""
    task(0)  # compiled before
    seconds = []
    with ThreadPool(threads) as pool:
        for _ in range(times):
            began = time.perf_counter()
            pool.run(lambda low, high: task(low), threads)
            seconds.append(time.perf_counter() - began)
    return threads * work / min(seconds)


def peak_gigaflops(threads: int) -> float:
    """Return 10⁹ single-precision operations a second, a fused multiply-add being two."""
    count, rounds = KERNEL_BYTES // 4, 20_000
    numbers = [np.full(count, 0.5, np.float32) for _ in range(threads)]
    sums = [np.zeros(count, np.float32) for _ in range(threads)]
    return best_rate(lambda i: multiply_add(numbers[i], sums[i], rounds), 32e-9 * count * rounds, threads)


def stream_gigabytes(size: int, threads: int) -> float:
    """Return the gigabytes a second that threads read, each from its own array of ``size`` bytes."""
    rounds = max(1, (1 << 29) // size)
    arrays = [np.ones(size // 4, np.float32) for _ in range(threads)]
    return best_rate(lambda i: stream(arrays[i], rounds), 1e-9 * size * rounds, threads)


def gather_gigabytes(rows: int, width: int, threads: int) -> float:
    """Return the gigabytes a second that threads gather from random rows of one table of ``width`` floats a row."""
    table = np.ones((rows, width), np.float32)
    chosen = np.random.default_rng(0).integers(0, rows, (threads, 1 << 20), dtype=np.int32)
    sums = np.zeros((threads, max(width, 64)), np.float32)
    return best_rate(
        lambda i: gather(table, chosen[i], sums[i, :width]), 4e-9 * width * chosen.shape[1], threads
    )
