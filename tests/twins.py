"""Slow, plain NumPy twins of the kernels: the mathematics once more, written apart from the code under test."""

from __future__ import annotations

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15


def mix64(x):
    x = np.atleast_1d(np.asarray(x, np.uint64))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def mix32(x):
    x = np.asarray(x, np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def stream_key(seed, epoch, stream):
    """The key of one epoch's draws, in Python's unbounded integers cut to 64 bits."""
    cut = 2**64 - 1
    key = int(mix64((seed + GOLDEN) & cut)[0])
    key = int(mix64(key ^ (epoch * GOLDEN & cut))[0])
    return int(mix64(key ^ (stream * 0xD1B54A32D192ED03 & cut))[0])


def draws(key, first, count, negatives, products):
    """``int64[count, S]``: what each purchase draws."""
    purchases = [(int(key) + number * GOLDEN) % 2**64 for number in range(first, first + count)]
    base = mix64(np.array(purchases, np.uint64))[:, None]
    position = np.arange(negatives, dtype=np.uint32)[None, :] * np.uint32(0x9E3779B9)
    h = mix32(base.astype(np.uint32) + position)
    h = mix32(h ^ (base >> np.uint64(32)).astype(np.uint32))
    return (h.astype(np.uint64) * np.uint64(products) >> np.uint64(32)).astype(np.int64)


def log_softmax(scores):
    highest = scores.max(axis=1, keepdims=True)
    return scores - highest - np.log(np.exp(scores - highest).sum(axis=1, keepdims=True))


def losses_and_hits(scores, candidates):
    """Cross-entropy of candidate 0 and whether it beats every other product, of each row of ``scores[B, 1 + S]``."""
    rivals = (scores[:, 1:] >= scores[:, :1]) & (candidates[:, 1:] != candidates[:, :1])
    return -log_softmax(scores)[:, 0], ~rivals.any(axis=1)


def candidates_of(products, key, first, negatives, catalogue):
    return np.concatenate(
        [np.asarray(products, np.int64)[:, None], draws(key, first, len(products), negatives, catalogue)],
        axis=1,
    )


def score_candidates(user_vectors, product_vectors, users, candidates):
    return np.einsum("bd,bjd->bj", user_vectors[users], product_vectors[candidates])


def learn_batch(user_vectors, product_vectors, users, candidates, learning_rate):
    """One step of gradient descent on the mean loss of a batch, in place, in float64; return its losses and hits."""
    scores = score_candidates(user_vectors, product_vectors, users, candidates)
    slope = np.exp(log_softmax(scores))
    slope[:, 0] -= 1
    slope *= learning_rate / len(users)
    of_users = np.einsum("bj,bjd->bd", slope, product_vectors[candidates])
    of_products = slope[:, :, None] * user_vectors[users][:, None, :]
    np.subtract.at(user_vectors, users, of_users)
    np.subtract.at(product_vectors, candidates, of_products)
    return losses_and_hits(scores, candidates)


def train(
    user_vectors, product_vectors, purchases, *, epochs, batch, negatives, learning_rate, seed, valid=None
):
    """The workshop's notebook in NumPy; return (loss, accuracy, valid loss, valid accuracy) of each epoch."""
    catalogue, course = len(product_vectors), []
    for epoch in range(1, epochs + 1):
        key = stream_key(seed, epoch, 0)
        losses, hits = [], []
        for start in range(0, len(purchases), batch):
            users = purchases.user_rows[start : start + batch]
            products = purchases.product_rows[start : start + batch]
            candidates = candidates_of(products, key, start, negatives, catalogue)
            loss, hit = learn_batch(user_vectors, product_vectors, users, candidates, learning_rate)
            losses.extend(loss)
            hits.extend(hit)
        measured = [np.mean(losses), np.mean(hits)]
        if valid is not None:
            drawn = candidates_of(valid.product_rows, stream_key(seed, epoch, 1), 0, negatives, catalogue)
            scores = score_candidates(user_vectors, product_vectors, valid.user_rows, drawn)
            measured += map(np.mean, losses_and_hits(scores, drawn))
        course.append(measured)
    return np.array(course)


def ranked(scores, k, excluded=()):
    """Rows of the k greatest of ``scores[C]``, best first, equal ones by ascending row."""
    rows = np.lexsort((np.arange(len(scores)), -scores))
    return rows[~np.isin(rows, list(excluded))][:k]
