"""Logs written in random dialects and read back: ``python benchmarks/fuzz_reading.py``, 2,000 of them.

A true log is written in a random kind of file, encoding, packing, number of parts, order of columns and spelling of ids, times
and quantities, and read by `read_purchases`. It must come back the same, or be refused in a sentence. The exit code is 1 where one
came back different. ``--show refused`` prints what was said.
"""

from __future__ import annotations

import argparse
import collections
import re
import sys
import tempfile
from pathlib import Path

from common import ROOT, markdown, parser_of

sys.path.insert(0, str(ROOT / "tests" / "data"))

from reading_dialects import judged


def main() -> None:
    parser = parser_of(__doc__, dialects=2_000, seed=0)
    parser.add_argument("--show", choices=["refused", "fault"], default="fault")
    options: argparse.Namespace = parser.parse_args()
    verdicts: collections.Counter[str] = collections.Counter()
    sentences: collections.Counter[str] = collections.Counter()
    for number in range(options.seed, options.seed + options.dialects):
        with tempfile.TemporaryDirectory() as folder:
            try:
                verdict, dialect, said = judged(Path(folder), number)
            except Exception as error:
                verdict, dialect, said = "raw error", number, f"{type(error).__name__}: {error}"
        verdicts[verdict] += 1
        if verdict == "refused":
            sentences[re.sub(r"'[^']*'|\d[\d,]*|part-\S+", "…", said)[:110]] += 1
        if verdict == "raw error" or verdict == options.show:
            print(f"{number} {verdict}: {said[:300]}\n    {dialect}", file=sys.stderr)
    print(
        markdown(
            ["what came of it", "dialects"], [(name, f"{count:,}") for name, count in verdicts.most_common()]
        )
    )
    print()
    print(markdown(["what was said", "times"], sentences.most_common(25)))
    sys.exit(1 if verdicts["fault"] + verdicts["raw error"] else 0)


if __name__ == "__main__":
    main()
