"""The examples in the docstrings of this room, and those of docs/metrics.md, run as they are printed."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "diversity", "exposure", "intervals", "metrics", "paired", "popularity", "protocol", "sampled", "segments",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(f"tastemaker.evaluation.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_examples_of_the_metrics_page_run():
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 0
    assert result.failed == 0
