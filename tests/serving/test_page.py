"""The page's files and its own questions, without a browser."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from serving_worlds import PRODUCTS, USERS, client_of, make_model, product_id
from starlette.testclient import TestClient

from tastemaker.serving.front.api_keys import new_key
from tastemaker.serving.pages.routes import POLICY

COSINE = f"/api/v1/products/{product_id(5)}/similar"


@pytest.fixture
def page(client: TestClient) -> str:
    return client.get("/").text


def test_the_page_allows_files_of_its_own_server_only_and_nothing_inline(
    client: TestClient, page: str
) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert policy == POLICY
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", page)
    assert not re.search(r"(src|href)=\"(?!/|#)", page)


def test_every_file_that_the_page_names_is_there_and_is_kept_for_ever(client: TestClient, page: str) -> None:
    names = set(re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", page))
    assert len(names) > 10
    for name in names:
        answer = client.get(name)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-encoding"] == "gzip"
        assert client.get(name, headers={"accept-encoding": "identity"}).content == answer.content


def test_every_module_that_a_module_imports_is_there(client: TestClient, page: str) -> None:
    mark = re.search(r"/static/(\w+)/app.js", page)[1]
    for name in set(re.findall(r"/static/\w+/(\w+\.js)", page)):
        for other in re.findall(r'from "\./(\w+\.js)"', client.get(f"/static/{mark}/{name}").text):
            assert client.get(f"/static/{mark}/{other}").status_code == 200


def test_no_file_turns_text_into_markup_or_script(client: TestClient, page: str) -> None:
    for name in set(re.findall(r"(/static/[^\"]+\.js)", page)):
        text = client.get(name).text
        sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|setTimeout\(\s*[\"']"
        assert not re.search(sinks, text), name


def test_a_file_by_another_mark_or_name_is_not_there(client: TestClient, page: str) -> None:
    mark = re.search(r"/static/(\w+)/", page)[1]
    for name in (
        "/static/0000/app.js",
        f"/static/{mark}/index.html",
        f"/static/{mark}/..%2froutes.py",
        "/static/",
    ):
        assert client.get(name).status_code == 404


def test_an_unchanged_page_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/").headers["etag"]
    assert client.get("/", headers={"if-none-match": etag}).status_code == 304
    assert client.get("/", headers={"if-none-match": '"other"'}).status_code == 200


def test_the_icon_is_where_browsers_look_for_it(client: TestClient) -> None:
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_a_session_says_what_the_caller_may_do(shelf_folder: Path, tmp_path: Path) -> None:
    _, admin = new_key(tmp_path / "keys.json", "admin")
    _, reader = new_key(tmp_path / "keys.json", "read")
    with client_of(shelf_folder, keys=tmp_path / "keys.json") as client:
        assert client.get("/").status_code == 200
        assert client.get("/api/page/session").status_code == 401
        for key, role in ((admin, "admin"), (reader, "read")):
            answer = client.get("/api/page/session", headers={"Authorization": f"Bearer {key}"})
            assert answer.json() == {"keys": True, "role": role}


def test_a_server_without_keys_says_so(client: TestClient) -> None:
    assert client.get("/api/page/session").json()["keys"] is False


def test_users_at_random_are_distinct_and_bought_something(client: TestClient) -> None:
    answer = client.get("/api/page/users", params={"model": "texts", "limit": USERS}).json()
    found = {user["user"]: user["purchases"] for user in answer["users"]}
    # users 1 to 29 bought products n and 2n; user 0 bought product 0 alone
    assert found == {f"u{number:03}": 2 if number else 1 for number in range(USERS)}
    seen = {
        client.get("/api/page/users", params={"model": "texts", "limit": 1}).json()["users"][0]["user"]
        for _ in range(20)
    }
    assert len(seen) > 1


def test_users_are_found_by_the_beginning_of_their_id_the_very_one_first(client: TestClient) -> None:
    ask = lambda text: [  # noqa: E731
        user["user"]
        for user in client.get(
            "/api/page/users", params={"model": "texts", "search": text, "limit": 200}
        ).json()["users"]
    ]
    assert ask("U02") == [f"u02{digit}" for digit in range(10)]
    assert ask("u007") == ["u007"]
    assert ask("nobody") == []


def test_neighbours_by_cosine_are_the_best_of_all_products(client: TestClient) -> None:
    vectors = make_model(3).product_vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit @ unit[5]
    order = [row for row in np.argsort(-scores, kind="stable") if row != 5]
    for k in (12, 200):
        answer = client.get(COSINE, params={"model": "recommender", "similarity": "cosine", "k": k})
        similar = answer.json()["similar"]
        assert [entry["product"] for entry in similar] == [product_id(row) for row in order[:k]]
        np.testing.assert_allclose([entry["score"] for entry in similar], scores[order[:k]], rtol=1e-4)
    assert len(similar) == PRODUCTS - 1


def test_neighbours_by_cosine_obey_the_rules_file(shelf_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(shelf_folder, tmp_path / "shelf")
    rules = tmp_path / "shelf" / "recommender" / "rules.json"
    with client_of(tmp_path / "shelf") as client:
        ask = {"model": "recommender", "similarity": "cosine", "k": 200}
        first = client.get(COSINE, params=ask).json()["similar"]
    rules.write_text(json.dumps({"deny": [first[0]["product"]]}))
    with client_of(tmp_path / "shelf") as client:
        assert client.get(COSINE, params=ask).json()["similar"] == [
            {**entry, "rank": entry["rank"] - 1} for entry in first[1:]
        ]


def test_neighbours_of_an_unknown_product_are_not_found(client: TestClient) -> None:
    answer = client.get(
        "/api/v1/products/nothing/similar", params={"model": "recommender", "similarity": "cosine"}
    )
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_question_with_a_mistake_is_refused(client: TestClient) -> None:
    for query in ({"k": 0}, {"k": "many"}, {"other": 1}, {"similarity": "sine"}):
        answer = client.get(COSINE, params={"model": "recommender", **query})
        assert answer.status_code == 400
