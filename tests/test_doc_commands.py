"""The pages' commands exist: the command line understands each, and a server answers each request as it stands there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from starlette.testclient import TestClient

import tastemaker as tm
from tastemaker.cli.app import app
from tastemaker.serving.app import create_app
from tastemaker.serving.front.settings import Settings

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("refresh_for_commands", ROOT / "docs" / "refresh.py")
refresh = importlib.util.module_from_spec(_spec)
sys.modules["refresh_for_commands"] = refresh
_spec.loader.exec_module(refresh)

COMMANDS = {
    page: [command for command in refresh.command_lines(page) if command.startswith("tastemaker ")]
    for page in refresh.pages()
}
CURLS = sorted(
    {
        (page.name, line)
        for page in refresh.pages()
        for line in refresh.command_lines(page)
        if line[:4] == "curl"
    }
)


def understood(command: str) -> None:
    """Let the command line read a command to its end, without doing it; wrong usage raises."""
    group, words = typer.main.get_command(app), shlex.split(command)[1:]
    while hasattr(group, "commands"):
        assert words[0] in group.commands, f"no command {words[0]}"
        group = group.commands[words.pop(0)]
    group.make_context("tastemaker", words)


@pytest.mark.parametrize(
    "page", [page for page, found in COMMANDS.items() if found], ids=lambda page: page.name
)
def test_the_command_line_understands_every_command_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS[page]:
        understood(re.sub(r"\$\w+", "7", re.sub(r" …$", " --out models/m/1", command)))


def test_what_the_command_line_does_not_know_is_seen():
    with pytest.raises(Exception, match="No such option"):
        understood("tastemaker train log.csv --out models/m/1 --no-such-flag")


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    """Clients of two servers with the demo's ids: one for this machine, one with keys and live purchases."""
    folder = tmp_path_factory.mktemp("served")
    shop = tm.make_shop(users=200, products=60, purchases=1_500)
    shop.catalogue.write_parquet(folder / "products.parquet")
    model = tm.train(shop.purchases, epochs=1, dimensions=8)
    for version in ("1", "2"):
        tm.save(model, folder / "models" / "recommender" / version)
    (folder / "models" / "recommender" / "labels.json").write_text('{"labels": {"canary": 2}, "history": []}')
    key = refresh.run_command(f"tastemaker key new --role admin --keys {folder / 'keys.json'}").split()
    key = next(word for word in key if word.startswith("tm_"))
    shared = {"models": folder / "models", "catalogue": folder / "products.parquet", "log_requests": False}
    with (
        TestClient(create_app(Settings(**shared)), base_url="http://localhost") as for_all,
        TestClient(
            create_app(Settings(**shared, keys=folder / "keys.json", events=folder / "events.db")),
            base_url="http://localhost",
        ) as with_key,
    ):
        yield for_all, with_key, key


def _page(name: str) -> str:
    return next(page for page in refresh.pages() if page.name == name).read_text()


@pytest.mark.parametrize(("page", "line"), CURLS, ids=lambda part: part[:40])
def test_a_server_answers_every_request_of_a_page(page, line, answering):
    for_all, with_key, key = answering
    words = iter(shlex.split(re.sub(r"\$KEY|tm_read_…", key, line))[1:])
    method, body, headers, url = "GET", None, {}, ""
    for word in words:
        if word in ("-d", "--data"):
            body, method = next(words), "POST"
            headers = {"Content-Type": "application/x-www-form-urlencoded"} | headers
        elif word == "--data-binary":  # a file, which the page shows
            assert next(words).startswith("@")
            body, method = re.search(r"```jsonl\n(.*?)```", _page(page), re.DOTALL)[1], "POST"
        elif word in ("-H", "--header"):
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word in ("-X", "--request"):
            method = next(words)
        else:
            url = word
    client = with_key if "Authorization" in headers else for_all
    answer = client.request(method, re.sub(r"^https?://[^/]+", "", url), content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.content
