"""The house: public names, what importing costs, and which room may import from which."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import tastemaker
from tastemaker import errors

ROOT = Path(__file__).parents[1]

PACKAGE = Path(tastemaker.__file__).parent
MODULES = {
    ".".join(["tastemaker", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(file.read_text()) for name, file in MODULES.items()}

MOST_FILES, MOST_LINES, MOST_PARAMETERS = 12, 60, 8


# The public names ---------------------------------------------------------------------------------------------


def test_the_public_names_are_those_of_the_stub_that_type_checkers_read():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(stub.body) - 1  # and the docstring
    names = [(alias.name, alias.asname) for node in imports for alias in node.names]
    assert all(name == again for name, again in names)  # the form that hands a name on
    assert dir(tastemaker) == sorted(name for name, _ in names)
    assert len(set(names)) == len(names) > 40


@pytest.mark.parametrize("name", tastemaker.__all__)
def test_every_public_name_is_found_explained_and_public_in_its_module(name):
    value = getattr(tastemaker, name)
    assert value.__doc__
    assert name in sys.modules[value.__module__].__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = tastemaker.nonsense


def test_files_of_tests_have_names_of_their_own():
    """Two of one name cannot be collected in one run."""
    names = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


# Errors -------------------------------------------------------------------------------------------------------


def drawn_tree() -> dict[str, str]:
    """Return for each error of the drawing the one that it is drawn under."""
    parents, path = {}, []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"    ((?:[│ ]   )*)(├── |└── )?(\w+)  +\w", line):
            depth = len(found[1]) // 4 + bool(found[2])
            path[depth:] = [found[3]]
            parents[found[3]] = path[depth - 1] if depth else "Exception"
    return parents


def test_every_error_is_drawn_in_the_tree_under_its_base():
    assert drawn_tree() == {name: getattr(errors, name).__base__.__name__ for name in errors.__all__}


def test_no_exception_of_the_package_is_missing_from_the_tree():
    for name in MODULES:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    found, classes = [], [BaseException]
    while classes:
        kinds = classes.pop().__subclasses__()
        classes += kinds
        found += [kind for kind in kinds if kind.__module__.split(".")[0] == "tastemaker"]
    errors_elsewhere = {
        kind.__name__
        for kind in found
        if kind.__module__ != "tastemaker.errors" and not issubclass(kind, Warning)
    }
    assert errors_elsewhere == set(re.findall(r"``(\w+)``", errors.__doc__))
    assert {kind.__name__ for kind in found if kind.__module__ == "tastemaker.errors"} == set(errors.__all__)


# Imports ------------------------------------------------------------------------------------------------------


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


def arrows() -> dict[str, set[str]]:
    """Return for each module those that it imports, anywhere: at the top, in functions, and for type checkers alone."""
    found: dict[str, set[str]] = {name: set() for name in MODULES}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names if alias.name in MODULES}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} imports relatively"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found[name] |= {
                        module for module in (inner, node.module) if module in MODULES and "." in module
                    }
        found[name].discard(name)
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules of which each reaches each."""
    reach = {name: set(reached) for name, reached in graph.items()}
    for middle in graph:
        for name in graph:
            if middle in reach[name]:
                reach[name] |= reach[middle]
    groups = {frozenset({name, *(other for other in reach[name] if name in reach[other])}) for name in graph}
    return sorted((set(group) for group in groups if len(group) > 1), key=min)


def test_circles_are_found_wherever_the_import_stands():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e"}}
    assert circles(graph) == [{"a", "b", "c"}, {"e", "f"}]


def test_no_modules_import_each_other_in_a_circle_not_even_lazily_or_for_types():
    assert circles(arrows()) == []


# Rooms and functions ------------------------------------------------------------------------------------------


def test_a_room_holds_twelve_files_at_most():
    rooms = Counter(file.parent for file in MODULES.values() if file.name != "__init__.py")
    assert {room.name for room, files in rooms.items() if files > MOST_FILES} == set()


def test_the_picture_of_the_rooms_shows_each_of_them_and_nothing_else():
    picture = re.search(r"```\n(cli/.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    drawn, room = set(), ""
    for line in picture.splitlines():
        if not line.startswith(" "):
            room = line.split()[0]
            drawn.add(room)
        drawn |= {
            f"{room}{inner}"
            for inner in re.findall(r"(?<=\s)\w+(?:/|\.py)(?=[\s,;.]|$)", f" {line[len(room) :]}")
        }
    folders = {file.parent.relative_to(PACKAGE) for file in MODULES.values()}
    assert {path for path in drawn if not (PACKAGE / path).exists()} == set()
    assert {f"{folder}/" for folder in folders if 0 < len(folder.parts) <= 2} <= drawn
    assert {name for name in drawn if "/" not in name} == {
        file.name for file in PACKAGE.glob("*.py") if not file.name.startswith("_")
    }


def functions(*rooms: str) -> Iterator[tuple[str, str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return the functions outside these rooms: their full name, the module, and their tree."""
    for name, tree in TREES.items():
        if not set(rooms) & set(name.split(".")):
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{name}.{node.name}", name, node


def says_why(module: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a comment ``# long: the reason`` stands above a function."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return bool(re.match(r"\s*# long: .{10}", MODULES[module].read_text().splitlines()[first - 2]))


def test_a_function_of_more_than_sixty_lines_says_why():
    long = {
        name
        for name, module, node in functions("kernels")
        if node.end_lineno - node.lineno + 1 > MOST_LINES and not says_why(module, node)
    }
    assert long == set()


def test_a_function_takes_eight_parameters_at_most():
    wide = {
        name
        for name, _, node in functions("kernels", "cli")
        if len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) > MOST_PARAMETERS
    }
    assert wide == set()


# The program --------------------------------------------------------------------------------------------------


def test_what_benchmarks_and_examples_import_is_there():
    """They import late, so that ``--help`` is quick: a name that has moved would be found only by who runs one."""
    lost = []
    for file in sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").rglob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "tastemaker":
                continue
            for one in node.names:
                try:
                    if not hasattr(importlib.import_module(str(node.module)), one.name):
                        importlib.import_module(f"{node.module}.{one.name}")
                except ImportError:
                    lost.append(f"{file.name}:{node.lineno} {node.module}.{one.name}")
    assert lost == []


def test_the_program_runs_as_a_module():
    ran = subprocess.run(
        [sys.executable, "-m", "tastemaker"], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Usage" in ran.stdout + ran.stderr
