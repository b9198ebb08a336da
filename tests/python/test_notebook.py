"""A real notebook: the bar below its cell, and values as pages."""

from __future__ import annotations

import warnings

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELLS = [
    "import tastemaker as tm\nshop = tm.make_shop(users=120, products=40, purchases=900)",
    "model = tm.train(shop.purchases, 'workshop', epochs=2, learning_rate=5)",
    "model",
    "quiet = tm.train(shop.purchases, 'workshop', epochs=1, learning_rate=5, progress=False)",
    "tm.evaluate(model, tm.hold_out_last(shop.purchases))",
    "tm.recommend(model, 'c-000001', k=2, catalogue=shop.catalogue)",
]


@pytest.fixture(scope="module")
def cells():
    """What each cell put out, run by a kernel of its own."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the notebook's own packages
        nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    return [[output.get("data", {}) for output in cell.outputs] for cell in book.cells]


def test_training_leaves_one_line_below_its_cell(cells):
    [bar] = cells[1]
    assert "learning, epoch 2/2" in bar["text/html"]
    assert "s in all" in bar["text/html"]
    assert "<progress" not in bar["text/html"]


def test_no_progress_leaves_nothing(cells):
    assert cells[3] == []


@pytest.mark.parametrize(
    ("cell", "text"), [(2, "A taste model"), (4, "<svg"), (5, "1 list of recommendations")]
)
def test_a_value_is_shown_as_a_page_and_as_a_line(cells, cell, text):
    [shown] = cells[cell]
    assert text in shown["text/html"]
    assert "\n" not in shown["text/plain"]
