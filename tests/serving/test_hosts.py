"""Names that a server answers to: a page of another name that resolves to this machine reads nothing."""

from __future__ import annotations

import pytest
from page_worlds import browser
from serving_worlds import client_of, make_model, product_id

from tastemaker.model.folder import save
from tastemaker.serving.front.api_keys import new_key


@pytest.fixture
def models(tmp_path):
    save(make_model(1), tmp_path / "models" / "recommender" / "1")
    return tmp_path / "models"


LOCAL = [
    "localhost",
    "localhost:8501",
    "LocalHost.",
    "127.0.0.1",
    "127.0.0.1:8501",
    "127.8.9.1",
    "[::1]",
    "[::1]:8501",
]
FOREIGN = [
    "evil.example",
    "evil.example:8501",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.7",
    "",
    "[",
    "::1",
]
PATHS = ["/api/v1/models", "/v1/models/recommender", "/livez", "/", "/metrics", "/nowhere"]


def statuses(client, hosts, path="/api/v1/models"):
    return {client.get(path, headers={"Host": host}).status_code for host in hosts}


def test_without_keys_on_this_machine_only_its_own_names_are_answered(models):
    with client_of(models) as client:
        assert statuses(client, LOCAL) == {200}
        for path in PATHS:
            assert statuses(client, FOREIGN[:6], path) == {421}
        found = client.get("/api/v1/models", headers={"Host": "evil.example"})
        assert "evil.example" in found.json()["detail"]
        assert "recommender" not in found.text


def test_an_allowed_name_is_answered_with_any_port_and_no_other_is(models):
    with client_of(models, allowed_hosts=("Shop.example",)) as client:
        assert statuses(client, ["shop.example", "SHOP.example:80", *LOCAL]) == {200}
        assert statuses(client, ["evil.example", "my.shop.example"]) == {421}


def test_a_server_that_others_reach_answers_to_any_name_unless_some_are_allowed(models, tmp_path):
    file = tmp_path / "keys.json"
    _, text = new_key(file, "read")
    headers = {"Authorization": f"Bearer {text}"}
    for settings in ({"keys": file}, {"host": "0.0.0.0", "insecure": True}):
        with client_of(models, **settings) as client:
            assert (
                client.get("/api/v1/models", headers={**headers, "Host": "shop.example"}).status_code == 200
            )
    with client_of(models, keys=file, allowed_hosts=("shop.example",)) as client:
        assert client.get("/api/v1/models", headers={**headers, "Host": "shop.example"}).status_code == 200
        assert client.get("/api/v1/models", headers={**headers, "Host": "evil.example"}).status_code == 421


# A real browser -----------------------------------------------------------------------------------------------

ASK = """async (path) => {
  const answer = await fetch(path);
  return [answer.status, await answer.text()];
}"""
PRIVATE = ["/api/v1/users/u003/history", "/api/v1/recommendations/users/u003", "/"]


def test_a_page_whose_name_was_rebound_to_this_machine_reads_nothing_in_chromium(models, start):
    """The page comes from elsewhere; then its name leads here, and its requests are of one origin for the browser."""
    rebound = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    unchecked = (
        "--disable-features=LocalNetworkAccessChecks"  # new Chromiums refuse by themselves, others do not
    )
    with browser(rebound, unchecked) as chromium:
        guarded, open_to_it = start(models), start(models, "--allowed-host", "evil.example")
        found = {}
        for server in (guarded, open_to_it):
            page = chromium.new_page()
            address = f"http://evil.example:{server.port}/prize"
            page.route(
                address, lambda route: route.fulfill(body="<title>x</title>", content_type="text/html")
            )
            page.goto(address)
            found[server.port] = [page.evaluate(ASK, path) for path in PRIVATE]
            page.close()
        assert [status for status, _ in found[guarded.port]] == [421] * len(PRIVATE)
        assert not any(str(product_id(3)) in text for _, text in found[guarded.port])
        # the same page reads all where its name is allowed, so it is the check of names that stops it
        assert [status for status, _ in found[open_to_it.port]] == [200] * len(PRIVATE)
        assert str(product_id(3)) in found[open_to_it.port][0][1]
