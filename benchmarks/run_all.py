"""Run every benchmark and put its tables into a page: ``python benchmarks/run_all.py --into docs/benchmarks.md``.

What a benchmark prints replaces the lines between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. A benchmark that needs
something which is not installed leaves its lines as they are; the exit code is then 2. Without ``--into`` everything is printed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from common import add_data_options, parser_of

HERE = Path(__file__).parent

TAKES_DATA = {
    "workshop_epoch",
    "top_k",
    "metrics",
    "throughput",
    "warm_start",
    "against_als",
    "serving",
    "soak",
}
NO_SYNTHETIC = {"against_als"}
NAMES = [
    "quality",
    "startup",
    "first_hour",
    "workshop_epoch",
    "top_k",
    "metrics",
    "throughput",
    "growing_shop",
    "vocabulary",
    "reading",
    "scaling",
    "warm_start",
    "against_als",
    "efforts",
    "one_request",
    "serving",
    "soak",
    "page_search",
    "experiments",
    "off_policy",
]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--into", type=Path, metavar="PAGE")
    parser.add_argument("--only", action="append", choices=NAMES, help="may be given several times")
    parser.add_argument("--tensorflow-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH")
    add_data_options(parser)
    options = parser.parse_args()
    if options.into is not None:
        for name in options.only or NAMES:
            replaced(options.into, name, "")  # a page without a place for it is found out before, not after
    code = 0
    for name in options.only or NAMES:
        began = time.perf_counter()
        print(f"{name} …", file=sys.stderr, flush=True)
        ended = subprocess.run(command(name, options), stdout=subprocess.PIPE, text=True)
        print(
            f"{name}: {time.perf_counter() - began:.0f} s, exit {ended.returncode}",
            file=sys.stderr,
            flush=True,
        )
        code = max(code, ended.returncode)
        if ended.returncode:
            continue
        if options.into is None:
            print(f"## {name}\n\n{ended.stdout}")
        else:
            options.into.write_text(replaced(options.into, name, ended.stdout.strip()))
    sys.exit(code)


def command(name: str, options: argparse.Namespace) -> list[str]:
    words = [sys.executable, str(HERE / f"{name}.py")]
    if name in TAKES_DATA:
        words += ["--synthetic"] if options.synthetic and name not in NO_SYNTHETIC else []
        words += ["--data", str(options.data)] if options.data else []
    if name in ("quality", "efforts") and options.data:
        words += ["--data", str(options.data)]
    if name == "metrics":
        words += ["--peers-python", options.peers_python]
    if name == "workshop_epoch":
        words += ["--tensorflow-python", options.tensorflow_python]
    return words


def replaced(page: Path, name: str, text: str) -> str:
    """Return the page with other lines between a benchmark's marks."""
    block = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    before = page.read_text()
    if len(block.findall(before)) != 1:
        sys.exit(
            f"run_all.py: {page} must have one pair of marks <!-- begin {name} --> and <!-- end {name} -->."
        )
    return block.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", before)


if __name__ == "__main__":
    main()
