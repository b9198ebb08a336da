"""Build the documentation as a site: `python docs/site/build.py --into site`, then `python -m http.server -d site`.

The pages are those of the repository: README, `docs/`, CONTRIBUTING and CHANGELOG, with links that work on a site. The reference
is written from the code. A link that leads nowhere ends the build with exit code 1. ``--version V`` builds into a folder of that
name beside other versions, and the site's header lets readers choose one.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import reference

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the repository that stand outside `docs/`, and their names on the site."""
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)\s#]+)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".service": "ini", ".toml": "toml", ".pyi": "python"}


class DeadLink(Exception):
    """A page links to a file that the repository does not hold."""


def pages() -> dict[str, str]:
    """Return the pages of the repository that the site shows: their paths there, and their names on the site."""
    inside = sorted((ROOT / "docs").rglob("*.md"))
    return OUTSIDE | {
        f"docs/{name}": name for name in (f.relative_to(ROOT / "docs").as_posix() for f in inside)
    }


def stage(into: Path) -> None:
    """Write to a folder what the generator builds: pages, pictures, the reference, and files that pages link to."""
    names = pages()
    linked: dict[str, str] = {}

    def target(page: str, link: str) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
        if path.endswith(".png"):
            return path.removeprefix("docs/")
        if path not in names:
            if not (ROOT / path).exists() or path.startswith(".."):
                raise DeadLink(f"{page} links to {link}, which does not exist")
            linked[path] = f"files/{path}.md"
        return names.get(path) or linked[path]

    for path, name in names.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        write(into / name, with_links(text, name, lambda link, page=path: target(page, link)))
    for path, name in linked.items():
        write(into / name, shown_file(path))
    for picture in (ROOT / "docs").rglob("*.png"):
        write(into / picture.relative_to(ROOT / "docs"), picture.read_bytes())
    write(into / "site.css", (HERE / "site.css").read_bytes())
    for name, text in reference.pages().items():
        write(into / "reference" / name, text)


def with_links(text: str, name: str, target: Callable[[str], str]) -> str:
    """Return a page whose links lead to pages of the site; what stands in a block of code is left alone."""
    home = posixpath.dirname(name) or "."

    def link(found: re.Match[str]) -> str:
        return found[1] + posixpath.relpath(target(found[2]), home)

    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in FENCE.split(text))


def shown_file(path: str) -> str:
    """Return a page that shows a file of the repository, or names the files of a folder."""
    file = ROOT / path
    if file.is_dir():
        listed = "\n".join(f"- `{inside.name}`" for inside in sorted(file.iterdir()) if inside.is_file())
        return f"# {path}\n\nA folder of the repository:\n\n{listed}\n"
    language = LANGUAGES.get(file.suffix, "docker" if file.name == "Dockerfile" else "text")
    return f"# {path}\n\n````{language}\n{file.read_text(encoding='utf-8').rstrip()}\n````\n"


def write(file: Path, content: str | bytes) -> None:
    """Write a file and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def in_nav() -> Iterator[str]:
    """Name every page that the site's navigation holds."""
    yield from re.findall(r'"([\w/-]+\.md)"', (HERE / "zensical.toml").read_text(encoding="utf-8"))


def build(into: Path, version: str | None) -> int:
    """Build the site into a folder and return the exit code of the generator."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stage(work / "docs")
        settings = (HERE / "zensical.toml").read_text(encoding="utf-8")
        if version is not None:
            settings += '\n[project.extra.version]\nprovider = "mike"\n'
        write(work / "zensical.toml", settings)
        done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=work, check=False)
        if done.returncode == 0:
            shutil.copytree(work / "site", into / (version or ""), dirs_exist_ok=True)
    if done.returncode == 0 and version is not None:
        add_version(into, version)
    return done.returncode


def add_version(site: Path, version: str) -> None:
    """List a version first in the site's own list, and lead readers of the site's root to it."""
    file = site / "versions.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    others = [{**entry, "aliases": []} for entry in known if entry["version"] != version]
    listed = [{"version": version, "title": version, "aliases": ["latest"]}, *others]
    write(file, json.dumps(listed, indent=1))
    write(site / "index.html", f'<!doctype html><meta http-equiv="refresh" content="0; url={version}/">\n')


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, default=ROOT / "site", help="a folder for the site (site)")
    parser.add_argument("--version", help="build this version beside others, into a folder of its name")
    options = parser.parse_args()
    try:
        sys.exit(build(options.into, options.version))
    except DeadLink as dead:
        sys.exit(str(dead))


if __name__ == "__main__":
    main()
