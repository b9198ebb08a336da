"""The pages are true: their Python runs, their commands print what stands there (numbers aside), and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
refresh = importlib.util.module_from_spec(_spec)
sys.modules["refresh"] = refresh
_spec.loader.exec_module(refresh)

PAGES = [*refresh.pages(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]


@pytest.mark.parametrize("page", refresh.pages(), ids=lambda page: page.name)
def test_what_a_page_shows_is_what_happens(page):
    blocks = refresh.blocks(page)
    if page not in refresh.COMPARED:
        blocks = [block for block in blocks if block.kind == "python"]
    names = {"__name__": "__main__"}
    with refresh.empty_folder():
        for block in blocks:
            if block.kind == "python":
                refresh.run_python(block.text, f"{page.name}:{block.line}", names)
                continue
            for step in refresh.steps(block.text):
                printed = refresh.shortened(refresh.run_command(step.command), step.output)
                assert refresh.shape(printed) == refresh.shape(step.output), step.command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [
                re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
            ], link


@pytest.mark.parametrize("page", refresh.pages(), ids=lambda page: page.name)
def test_every_name_of_python_that_a_page_mentions_exists(page):
    import tastemaker

    named = set(re.findall(r"\btm\.(\w+)", page.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not hasattr(tastemaker, name)] == []


def test_the_table_of_routes_and_roles_is_what_the_routes_declare():
    text = refresh.API.read_text(encoding="utf-8")
    assert refresh.with_routes(text) == text, "run python docs/refresh.py"
    assert "| `PUT /api/v1/rules` | admin |" in text


def test_every_public_name_is_on_the_page_of_python():
    import tastemaker

    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in tastemaker.__all__ if not re.search(rf"\b{name}\b", page)] == []
