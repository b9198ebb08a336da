"""The house: public names, what importing costs, and which room may import from which."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import tastemaker
from tastemaker import errors

ROOT = Path(__file__).parents[1]

NAMES = [
    "Candidates",
    "Columns",
    "Comparison",
    "Config",
    "Exclusions",
    "ExtraScores",
    "HeldOut",
    "PackedModel",
    "Purchases",
    "Reading",
    "Recommendations",
    "ReplayReport",
    "Report",
    "Shop",
    "Split",
    "TasteModel",
    "TastemakerError",
    "Vocabulary",
    "als",
    "best_sellers",
    "check_no_leak",
    "co_purchase",
    "compare",
    "compare_paired",
    "ease",
    "evaluate",
    "fetch_asos",
    "fold_in",
    "hold_out_last",
    "hold_out_random",
    "hold_out_time",
    "hold_out_users",
    "hold_out_windows",
    "joined",
    "load",
    "make_shop",
    "pack",
    "preset",
    "read_catalogue",
    "read_held_out",
    "read_purchases",
    "recommend",
    "recommend_baskets",
    "replay",
    "save",
    "score",
    "score_each",
    "similar",
    "top_k",
    "train",
]


def test_the_public_names_are_these():
    assert sorted(tastemaker.__all__) == sorted(NAMES)
    assert dir(tastemaker) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_found_and_explained(name):
    assert getattr(tastemaker, name).__doc__


def test_type_checkers_see_the_names_that_are_imported_lazily():
    tree = ast.parse(Path(tastemaker.__file__).read_text())
    seen = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen - {"annotations", "import_module", "TYPE_CHECKING"} == set(NAMES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = tastemaker.nonsense


def test_every_error_is_drawn_in_the_tree():
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.TastemakerError)
        assert name in errors.__doc__
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == set(errors.__all__)


def test_importing_loads_nothing_heavy(python):
    heavy = "{'numba', 'typer', 'rich', 'pandas', 'pyarrow', 'polars', 'numpy', 'scipy', 'pooch'}"
    ran = python(f"import tastemaker, sys; print(sorted({heavy} & set(sys.modules)))")
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


def test_the_readers_and_the_folder_load_no_compiler(python):
    code = "import tastemaker, sys; tastemaker.read_purchases, tastemaker.load; print('numba' in sys.modules)"
    assert python(code).stdout.strip() == "False"


def test_a_room_imports_only_from_rooms_above_it():
    program = Path(sysconfig.get_path("scripts")) / "lint-imports"
    command = str(program) if program.exists() else shutil.which("lint-imports")
    if command is None:
        pytest.skip("import-linter is not installed: pip install 'tastemaker[test]'")
    ran = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_program_runs_as_a_module():
    ran = subprocess.run(
        [sys.executable, "-m", "tastemaker"], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Usage" in ran.stdout + ran.stderr
