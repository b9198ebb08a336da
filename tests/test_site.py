"""The site of the documentation: it builds, links lead somewhere, its search knows the field's words, no page asks other hosts."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import tastemaker

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "docs" / "site" / "build.py"
_spec = importlib.util.spec_from_file_location("build_site", BUILD)
build_site = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build_site)


class Parsed(HTMLParser):
    """What a page asks for, where it leads, and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.asks, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found["id"]} if "id" in found else set()
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if (tag in ("script", "img") and "src" in found) or tag == "link":
            self.asks.append(found.get("src") or found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    into = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, BUILD, "--into", into, "--version", "1.0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return into / "1.0"


@pytest.fixture(scope="module")
def parsed(site):
    return {
        file: Parsed(file.read_text(encoding="utf-8"))
        for file in site.rglob("*.html")
        if file.name != "404.html"
    }


@pytest.fixture(scope="module")
def sections(site):
    return json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]


def test_every_link_of_the_site_leads_to_a_page_and_a_place_in_it(parsed):
    dead = []
    for file, page in parsed.items():
        for link in page.links:
            path, _, place = unquote(link).partition("#")
            target = (file.parent / path).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            if re.match(r"https?:", link):
                continue
            if not target.exists() or (place and place not in parsed[target].places):
                dead.append((file.name, link))
    assert dead == []


def test_no_page_asks_another_host_for_anything(parsed):
    asked = {ask for page in parsed.values() for ask in page.asks}
    assert [ask for ask in asked if re.match(r"(https?:)?//", ask)] == []


WORDS = (
    "cold start", "collaborative filtering", "implicit feedback", "embedding", "item-to-item", "hyperparameter",
    "early stopping", "authentication", "monitoring", "health check", "A/B test", "candidate generation", "two-tower",
)  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_search_for_a_word_of_the_field_finds_a_page_for_users(sections, word):
    found = [part for part in sections if word.lower() in f"{part['title']} {part['text']}".lower()]
    titled = [part for part in found if word.lower() in part["title"].lower()]
    assert found
    assert titled or word in ("collaborative filtering", "implicit feedback")  # these are in the glossary


def test_every_page_is_in_the_navigation():
    named = set(build_site.in_nav())
    assert set(build_site.pages().values()) - named == set()
    assert {name for name in named if not name.startswith("reference/")} <= set(build_site.pages().values())


def test_the_reference_holds_every_public_name_command_and_setting(site):
    def text(name):
        return (site / "reference" / name).read_text(encoding="utf-8")

    assert [name for name in tastemaker.__all__ if f'id="tm{name.lower()}"' not in text("python.html")] == [
        "TastemakerError"
    ]
    assert 'id="tastemakererror"' in text("errors.html")
    assert '<h2 id="tastemaker-train">' in text("commands.html")
    assert "--keep-interrupted" in text("commands.html")
    assert "memory.count_weight" in text("settings.html")
    assert "/api/v1/recommendations/basket" in text("http.html")


def test_a_link_to_what_the_repository_does_not_hold_ends_the_build(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("[gone](../src/gone.py)")
    for name in build_site.OUTSIDE:
        (tmp_path / name).write_text("nothing")
    monkeypatch.setattr(build_site, "ROOT", tmp_path)
    with pytest.raises(build_site.DeadLink, match=r"docs/page\.md links to \.\./src/gone\.py"):
        build_site.stage(tmp_path / "staged")


def test_a_block_of_code_keeps_what_looks_like_a_link():
    text = "[a](b.md)\n```\n[a](b.md)\n```\n"
    assert build_site.with_links(text, "in/page.md", lambda link: "c.md") == (
        "[a](../c.md)\n```\n[a](b.md)\n```\n"
    )


def test_a_new_version_comes_first_and_the_root_leads_to_it(site, tmp_path):
    assert json.loads((site.parent / "versions.json").read_text())[0]["version"] == "1.0"
    for version in ("1.0", "1.1", "1.1"):
        build_site.add_version(tmp_path, version)
    listed = json.loads((tmp_path / "versions.json").read_text())
    assert [(entry["version"], entry["aliases"]) for entry in listed] == [("1.1", ["latest"]), ("1.0", [])]
    assert "url=1.1/" in (tmp_path / "index.html").read_text()


def test_docstrings_become_markdown():
    text = "Adds ``a``.\n\n>>> 1 + 1\n2\n\nfirst\n    One,\n    and more.\n\nAs drawn:\n\n    a -> b\n"
    assert build_site.reference.markdown(text) == (
        "Adds `a`.\n\n```python\n>>> 1 + 1\n2\n```\n\n- `first`: One, and more.\n\nAs drawn:\n\n```text\na -> b\n```"
    )
