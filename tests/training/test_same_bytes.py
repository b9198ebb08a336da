"""The same seed gives the same bytes: at any number of threads, compiled just now or read from the cache."""

from __future__ import annotations

import hashlib

import pytest

from tastemaker.model.config import preset
from tastemaker.training.train import train

TRAINED = """
import hashlib, sys
from tastemaker.data.synthetic.shop import make_shop
from tastemaker.model.config import preset
from tastemaker.training.train import train

log = make_shop(users=60, products=50, purchases=900, seed=3).purchases
config = preset("workshop").changed({"epochs": 3, "batch": 256, "dimensions": 50})
model = train(log, config, valid=log, seed=4, threads=int(sys.argv[1]))
numbers = [(e.loss, e.accuracy, e.valid_loss, e.valid_accuracy) for e in model.record.epochs]
digest = hashlib.sha256(model.user_vectors.tobytes() + model.product_vectors.tobytes())
print(digest.hexdigest(), repr(numbers))
"""


def digest_of(model):
    numbers = [(e.loss, e.accuracy, e.valid_loss, e.valid_accuracy) for e in model.record.epochs]
    tables = (
        model.user_vectors.tobytes() + model.product_vectors.tobytes() + model.histories.products.tobytes()
    )
    return hashlib.sha256(tables).hexdigest(), numbers


@pytest.mark.parametrize(
    "settings", [{}, {"batch": 100, "dimensions": 50}, {"batch": 3, "learning_rate": 0.5}]
)
def test_threads_change_no_byte_of_the_model(split, small_config, settings):
    config = small_config.changed({"epochs": 2} | settings)
    one, two, eight = (
        digest_of(train(split.train, config, valid=split.held_out, seed=9, threads=threads))
        for threads in (1, 2, 8)
    )
    assert one == two == eight


def test_a_batch_beyond_the_log_is_the_whole_log_and_costs_no_memory(split, small_config):
    whole, beyond = (
        train(split.train, small_config.changed({"batch": batch}), seed=2)
        for batch in (len(split.train), 10**12)
    )
    assert digest_of(whole) == digest_of(beyond)


def test_training_again_gives_the_same_bytes(split):
    config = preset("workshop").changed({"epochs": 2})
    assert digest_of(train(split.train, config, seed=2)) == digest_of(train(split.train, config, seed=2))


def test_kernels_compiled_just_now_and_kernels_of_the_cache_give_the_same_bytes(python, tmp_path):
    """They once did not: a kernel that was not inlined was optimised apart in the two (see kernels/compiling.py)."""
    fresh = python(TRAINED, 2, NUMBA_CACHE_DIR=str(tmp_path))
    assert fresh.stderr == ""
    assert list(tmp_path.rglob("*.nbi"))
    cached = python(TRAINED, 1, NUMBA_CACHE_DIR=str(tmp_path))
    assert (fresh.returncode, cached.returncode) == (0, 0)
    assert fresh.stdout == cached.stdout != ""
