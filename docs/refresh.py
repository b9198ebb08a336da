"""Run the pages: the Python of a page and the commands of its transcripts, in order, in one empty folder.

`python docs/refresh.py` writes new transcripts into the pages that have some, and the table of routes into that of the API;
tests/test_docs.py compares what is printed with what stands there, numbers aside.

A transcript is a block of ``console``; what follows a line that begins with ``$ tastemaker`` is what that command prints. A line
``…`` in it stands for lines left out.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
WITH_TRANSCRIPTS = (ROOT / "README.md", DOCS / "tutorial.md", DOCS / "guide.md")
COMPARED = (DOCS / "tutorial.md", DOCS / "guide.md")
"""Pages whose transcripts a test compares; the README's holds names of products, which another training may change."""
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GAP = "…"
API = DOCS / "api.md"
ROUTES = re.compile(r"(<!-- routes -->\n)(.*?)(<!-- end of routes -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a transcript and what it printed."""

    command: str
    output: str


def pages() -> list[Path]:
    """Return every page whose Python runs."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that run."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in BLOCK.finditer(text)
    ]


def steps(text: str) -> list[Step]:
    """Split a transcript into its commands."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [Step(*part.rstrip("\n").partition("\n")[::2]) for part in parts]


def command_lines(page: Path) -> list[str]:
    """Return the commands of `tastemaker` and curl in a page's blocks, each on one line, without what a shell does with them."""
    found = []
    for kind, text in FENCED.findall(page.read_text(encoding="utf-8")):
        if kind in ("", "bash", "console"):
            lines = text.replace("\\\n", " ").splitlines()
            lines = [line.removeprefix("$ ") for line in lines if kind != "console" or line.startswith("$ ")]
            parts = [part.strip() for line in lines for part in re.split(r" && | &&$| \| ", line)]
            found += [
                re.sub(r"\s+(#.*|&|> .*)$", "", part)
                for part in parts
                if re.match(r"(tastemaker|curl) ", part)
            ]
    return found


def run_python(text: str, label: str, names: dict[str, Any]) -> None:
    """Run a block of Python, statements or a session with ``>>>``; a session that prints something else is an error."""
    if not text.lstrip().startswith(">>>"):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(text, label, "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(text, names, label, label, 0)
    report = io.StringIO()
    if doctest.DocTestRunner(verbose=False).run(test, out=report.write, clear_globs=False).failed:
        raise AssertionError(report.getvalue())
    names.update(test.globs)


def run_command(command: str) -> str:
    """Run a command of a transcript and return what it prints on either stream, without the note on compiling."""
    program, *arguments = shlex.split(command)
    if program != "tastemaker":
        raise ValueError(f"a transcript holds commands of tastemaker only, not {command!r}")
    done = subprocess.run(
        [sys.executable, "-m", "tastemaker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "110", "NO_COLOR": "1"},
        timeout=300,
        check=False,
    )
    lines = [line.rstrip() for line in done.stdout.splitlines() if not line.startswith("Compiling")]
    return "\n".join(lines).strip("\n")


def shape(output: str) -> list[str]:
    r"""Return an output without what may change from run to run: digits, units of memory, spacing, how often a line repeats.

    >>> shape("Wrote 12 lines  after 0.5 s.\n\n 1  2.0\n 2  2.5\n")
    ['Wrote # lines after # s.', '# #']
    >>> shape("peak memory 1.0 GiB") == shape("peak memory 980 MiB")
    True
    """
    lines: list[str] = []
    for line in output.splitlines():
        plain = " ".join(re.sub(r"# [KMG]iB", "# bytes", re.sub(r"\d[\d,.]*\d|\d", "#", line)).split())
        if plain.strip(GAP + " ") and [plain] != lines[-1:]:
            lines.append(plain)
    return lines


def shortened(output: str, like: str) -> str:
    """Leave out of an output the middle lines that a page left out of an earlier one."""
    lines, old = output.splitlines(), like.splitlines()
    if GAP not in old:
        return output
    head, tail = old.index(GAP), len(old) - old.index(GAP) - 1
    return "\n".join([*lines[:head], GAP, *lines[len(lines) - tail :]])


@contextlib.contextmanager
def empty_folder() -> Iterator[None]:
    """Work in an empty folder for a while."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def refreshed(page: Path) -> str:
    """Return the page with new transcripts."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def replace(found: re.Match[str]) -> str:
        if found[1] == "python":
            run_python(found[2], page.name, names)
            return found[0]
        new = [(step.command, shortened(run_command(step.command), step.output)) for step in steps(found[2])]
        body = "\n".join(f"$ {command}\n{output}" if output else f"$ {command}" for command, output in new)
        return f"```console\n{body}\n```"

    with empty_folder():
        return BLOCK.sub(replace, page.read_text(encoding="utf-8"))


def route_table() -> str:
    """Return the table of routes and roles as the routes declare them."""
    from tastemaker.serving.api.routes import operations
    from tastemaker.serving.pages.routes import OPERATIONS

    lines = [
        f"| `{one.method} {one.path.replace(':path', '')}` | {one.role} | {one.summary} |"
        for one in (*operations(), *OPERATIONS)
    ]
    return "\n".join(["| route | role | what it does |", "|---|---|---|", *lines])


def with_routes(text: str) -> str:
    """Return a page's text with the table of routes as they are now."""
    return ROUTES.sub(lambda found: f"{found[1]}{route_table()}\n{found[3]}", text)


if __name__ == "__main__":
    API.write_text(with_routes(API.read_text(encoding="utf-8")), encoding="utf-8")
    for page in [Path(name).resolve() for name in sys.argv[1:]] or WITH_TRANSCRIPTS:
        page.write_text(refreshed(page), encoding="utf-8")
        print(f"{page.relative_to(ROOT)}: fresh")
