"""Clients generated from the document of a running server, as docs/how-to/clients.md does it, ask that server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving_worlds import Server, serving

from tastemaker.data.synthetic.shop import make_shop
from tastemaker.model.config import preset
from tastemaker.model.folder import save
from tastemaker.serving.front.api_keys import new_key
from tastemaker.training.train import train

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "clients.md"
USER, PINNED = "c-000002", 1000042


@dataclass(frozen=True)
class Shop:
    server: Server
    key: str
    events: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def listed(self) -> list[str]:
        """Return the page's list as both its programs print it."""
        address = f"/api/v1/recommendations/users/{USER}?k=5"
        answer = self.server.client.get(address, headers=self.headers).json()
        return [f"{one['rank']} {one['product']} {one['score']}" for one in answer["recommendations"]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    shop = make_shop(users=200, products=60, purchases=1_500)
    save(train(shop.purchases, preset("default").changed(epochs=1, dimensions=8)), folder / "shop" / "1")
    return folder


@pytest.fixture
def shop(models: Path, tmp_path: Path) -> Iterator[Shop]:
    """A server without rules and without live purchases."""
    (models / "shop" / "rules.json").unlink(missing_ok=True)
    _, key = new_key(tmp_path / "keys.json", "admin")
    events = tmp_path / "events.db"
    with serving(models, tmp_path / "log", "--keys", tmp_path / "keys.json", "--events", events) as server:
        (tmp_path / "openapi.json").write_bytes(server.client.get("/openapi.json").content)
        yield Shop(server, key, events)


def block(kind: str, after: str = "") -> str:
    """Return the first block of a kind of the page, after a mark."""
    text = PAGE.read_text().partition(after)[2] if after else PAGE.read_text()
    return re.search(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]


def run(command: list[object], folder: Path, key: str = "") -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    environment = os.environ | {"KEY": key, "NO_COLOR": "1"}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def assert_all_was_done(shop: Shop, listed: list[str], printed: str) -> None:
    """The program printed the API's list of before its purchases; those are kept, and its pin is in force."""
    assert printed.splitlines() == [*listed, "kept 1", "kept 2", *printed.splitlines()[-1:]]
    assert re.fullmatch(rf"pinned \[ ?{PINNED} ?\]", printed.splitlines()[-1])
    assert shop.server.client.get("/api/v1/rules", headers=shop.headers).json()["rules"]["pin"] == [PINNED]
    kept = shop.server.client.get("/api/v1/events/export?format=jsonl", headers=shop.headers).text
    assert [kept.count(f'"{user}"') for user in (USER, "c-000017")] == [1, 2]


def test_the_document_is_what_openapi_says_a_document_is(shop: Shop) -> None:
    validator = pytest.importorskip(
        "openapi_spec_validator", reason="openapi-spec-validator is not installed"
    )
    document = shop.server.client.get("/openapi.json").json()
    validator.validate(document)
    document["paths"]["/api/v1/models"]["get"]["responses"] = "all of them"
    with pytest.raises(validator.validation.exceptions.OpenAPIValidationError):
        validator.validate(document)


def test_a_client_of_python_recommends_keeps_purchases_and_publishes_rules(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, generate = (line.split() for line in block("bash", "<!-- python -->").splitlines()[-2:])
    # Where it stands alone, as on the page, it binds no other package to the versions that it wants.
    apart = ["--quiet", "--disable-pip-version-check", "--target", tmp_path / "apart"]
    got = run([sys.executable, "-m", *install, *apart], tmp_path)
    if got.returncode:
        pytest.skip(f"pip cannot install: {got.stderr.strip().splitlines()[-1]}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "apart"))
    made = run([sys.executable, "-m", generate[0].replace("-", "_"), *generate[1:]], tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    left_out = re.findall(r"^WARNING parsing (\w+ \S+)", made.stdout + made.stderr, re.MULTILINE)
    assert left_out == ["POST /api/v1/events/bulk"]  # as the page says
    program = block("py").replace("http://127.0.0.1:8501", shop.server.address)
    (tmp_path / "shop.py").write_text(program)
    listed = shop.listed()
    ran = run([sys.executable, "shop.py"], tmp_path, shop.key)
    assert ran.returncode == 0, ran.stderr
    assert_all_was_done(shop, listed, ran.stdout)
    refused = run([sys.executable, "shop.py"], tmp_path, "tm_read_nobody")
    assert refused.returncode == 1
    assert refused.stderr.strip() == shop.server.client.get("/api/v1/models").json()["detail"]


def test_a_client_of_typescript_recommends_keeps_purchases_and_publishes_rules(
    shop: Shop, tmp_path: Path
) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js with npm here")
    *installs, generate = block("bash", "<!-- typescript -->").splitlines()
    for line in installs:
        got = run([*line.split(), "--no-audit", "--no-fund", "--prefer-offline"], tmp_path)
        if got.returncode:
            pytest.skip(f"npm cannot install: {got.stderr.strip().splitlines()[-1]}")
    made = run(generate.split(), tmp_path)
    assert made.returncode == 0, made.stderr
    program = block("ts").replace("http://127.0.0.1:8501", shop.server.address)
    (tmp_path / "shop.mts").write_text(program)
    compile_ = block("bash", "```ts").split(" && ")[0].split()
    checked = run(compile_, tmp_path)
    assert checked.returncode == 0, checked.stdout
    listed = shop.listed()
    ran = run(["node", "shop.mjs"], tmp_path, shop.key)
    assert ran.returncode == 0, ran.stderr
    assert_all_was_done(shop, listed, ran.stdout)
    (tmp_path / "shop.mts").write_text(program.replace("k: 5", "k: 'five'").replace("one.rank", "one.place"))
    wrong = run([*compile_, "--skipLibCheck", "--noEmit"], tmp_path)
    assert wrong.returncode != 0
    assert "'string' is not assignable to type 'number'" in wrong.stdout
    assert "'place' does not exist" in wrong.stdout
