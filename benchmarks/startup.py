"""How long a start takes: ``python benchmarks/startup.py``.

Fresh processes in turns: Python alone, ``import tastemaker``, all its public names, and ``tastemaker --help``. Files are in the
system's cache after the first round, which is not timed. A last table says in which packages the help's imports spend their time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter

from common import machine, markdown, parser_of, spread

COMMANDS = {
    "Python alone": ["-c", "pass"],
    "`import numpy, polars`": ["-c", "import numpy, polars"],
    "`import tastemaker`": ["-c", "import tastemaker"],
    "`from tastemaker import *`, every public name": ["-c", "from tastemaker import *"],
    "`tastemaker --help`": ["-m", "tastemaker", "--help"],
}
BOUNDS = {"`import tastemaker`": 0.5, "`tastemaker --help`": 1.0}


def main() -> None:
    options = parser_of(__doc__, rounds=9).parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(options.rounds + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if number:
                seconds[name].append(time.perf_counter() - began)
    rows = [
        [name, spread(measured, 3), f"{BOUNDS[name]} s" if name in BOUNDS else ""]
        for name, measured in seconds.items()
    ]
    print(markdown(["fresh process", "seconds", "allowed"], rows))
    print()
    print(
        markdown(
            ["imports of `tastemaker --help`", "milliseconds"], dominating(COMMANDS["`tastemaker --help`"])
        )
    )
    print(f"\n{options.rounds} timed processes of each, in turns; median (least–greatest). {machine()}")


def dominating(arguments: list[str], shown: int = 8) -> list[list[str]]:
    """Return the top-level packages in which importing spends most, by their modules' own times."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], check=True, capture_output=True, text=True
    )
    own: Counter[str] = Counter()
    for line in ended.stderr.splitlines():
        found = re.match(r"import time:\s+(\d+) \|\s+\d+ \|\s*([\w.]+)", line)
        if found:
            package = found[2].partition(".")[0]
            own[
                "the standard library" if package.lstrip("_") in STANDARD or package in STANDARD else package
            ] += int(found[1])
    rows = [[package, f"{microseconds / 1e3:.0f}"] for package, microseconds in own.most_common(shown)]
    return [*rows, ["all", f"{sum(own.values()) / 1e3:.0f}"]]


STANDARD = sys.stdlib_module_names


if __name__ == "__main__":
    main()
