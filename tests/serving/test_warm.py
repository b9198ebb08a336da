"""Nothing is compiled while requests wait: the warm-up knows every kernel and every type that answers one."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving_worlds import make_model

from tastemaker.model.folder import save

CODE = """
import dataclasses, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import numpy as np
from numba.core import event
from tastemaker.serving.models.warmup import warm

warm()
compiled = []

class Listener(event.Listener):
    def on_start(self, one):
        compiled.append(str((one.data["dispatcher"].py_func.__name__, one.data["args"])))

    def on_end(self, one):
        pass

with event.install_listener("numba:compile", Listener()):
    from serving_worlds import client_of, make_model, product_id
    from tastemaker.model.folder import save
    from tastemaker.model.taste_model import Memory

    models = Path(sys.argv[2])
    plain = make_model(1)
    memory = Memory(np.arange(161), np.arange(160, dtype=np.int32)[::-1].copy(), np.ones(160, np.float32))
    free = np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32)
    save(plain, models / "plain" / "1")
    save(dataclasses.replace(plain, memory=memory), models / "memory" / "1")
    save(dataclasses.replace(plain, user_vectors=free, basket_vectors=None), models / "free" / "1")
    with client_of(models) as client:
        for name in ("plain", "memory", "free"):
            basket = [product_id(3), product_id(8)]
            bodies = [
                {"inputs": product_id(1)},
                {"signature_name": "recommend_user", "inputs": ["u003", "nobody"]},
                {"signature_name": "recommend_user", "inputs": {"user": "u003", "include_purchased": True}},
                {"signature_name": "recommend_basket", "inputs": basket},
                {"signature_name": "similar_products", "inputs": basket},
            ]
            for body in bodies:
                assert client.post(f"/v1/models/{name}:predict", json=body).status_code == 200
            for rest in ("", "&why=true", "&include_purchased=true"):
                answer = client.get(f"/api/v1/recommendations/users/u003?model={name}{rest}")
                assert answer.status_code == 200, answer.text
            for rules in ({"deny": basket}, {"allow": [product_id(row) for row in range(20, 24)]}):
                body = {"model": name, "basket": basket, "rules": rules}
                answer = client.post("/api/v1/recommendations/basket", json=body)
                assert answer.status_code == 200, answer.text
print("compiled late:", compiled)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for compiled kernels, empty at first."""
    return tmp_path_factory.mktemp("numba")


def test_no_request_waits_for_the_compiler_and_compiling_is_said(python, tmp_path, cache):
    ran = python(CODE, Path(__file__).parent, tmp_path, NUMBA_CACHE_DIR=str(cache))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "compiled late: []"
    assert "compiling the kernels: once on this machine" in ran.stderr


def test_what_was_compiled_is_read_from_the_cache_the_next_time(tmp_path, start, monkeypatch, cache):
    if not any(cache.iterdir()):
        pytest.skip("the test before this one fills the cache")
    save(make_model(1), tmp_path / "models" / "recommender" / "1")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    server = start(tmp_path / "models")
    server.stop()
    assert "compiling the kernels" not in server.log.read_text()
