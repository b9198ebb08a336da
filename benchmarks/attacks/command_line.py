"""Hostile files at the command line: ``python benchmarks/attacks/command_line.py``.

Each goes to ``tastemaker train``, which must refuse it in one sentence, within bounds of memory and time, and write nothing. Exit
code 1 if one was accepted, took more than ``--memory`` MiB or ``--seconds``, or ended in a library's traceback.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path

from under_attack import options_of

HEAD = b"user_id,product_id\n"
ESCAPE = b"\x1b[31mred.csv"


def main() -> None:
    """Make the files, train from each, and print how it ended."""
    options = options_of(__doc__, seconds=60, memory=1_024, bomb=10_000)
    bad = 0
    print("| file | exit code | memory, MiB | said |\n|---|--:|--:|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for what, file in files(folder, options.bomb):
            code, memory, said = trained(options.python, file, folder, options.seconds)
            lines = said.strip().splitlines()
            fine = code == 1 and memory < options.memory and len(lines) == 1 and "\x1b" not in said
            bad += not fine
            last = lines[-1][:150].replace("|", "\\|") if lines else ""
            print(f"| {what} | {code} | {memory:.0f} | {ascii(last)[1:-1]}{'' if fine else ' **wrong**'} |")
    raise SystemExit(bad > 0)


def files(folder: Path, megabytes: int) -> list[tuple[str, bytes]]:
    """Write the files; return what each is, and its path."""
    made = os.fsencode(folder)

    def write(name: bytes, *parts: bytes, times: int = 1) -> bytes:
        path = os.path.join(made, name)
        with open(path, "wb") as file:
            for part in parts:
                file.write(part)
            for _ in range(times - 1):  # so that this process, of which others are forked, stays small
                file.write(parts[-1])
        return path

    bomb = os.path.join(made, b"bomb.csv.gz")
    with open(bomb, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as packed:
        block = bytes(10_000_000)
        for _ in range(megabytes // 10):
            packed.write(block)
    pipe = os.path.join(made, b"pipe.csv")
    os.mkfifo(pipe)
    mixed = [{"user_id": 1, "product_id": "a"}, {"user_id": {"x": 1}, "product_id": [1, 2]}]
    return [
        (f"{megabytes:,} MB of zeros, packed", bomb),
        ("an id of 200 MB", write(b"long.csv", HEAD, b"u" * 1_000_000, times=200)),
        ("a pipe", pipe),
        ("a name that is not UTF-8", write(b"caf\xe9.csv", b"user,product\na\n")),
        ("an escape sequence in a name", write(ESCAPE, b"user,product\na\n")),
        (
            "a million columns",
            write(
                b"wide.csv",
                b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n" + b"1," * 999_999 + b"1\n",
            ),
        ),
        ("a NUL byte", write(b"nul.csv", HEAD + b"a,b\nx\0y,c\n")),
        ("mixed types of JSON", write(b"mixed.jsonl", b"\n".join(json.dumps(row).encode() for row in mixed))),
    ]


def trained(python: str, file: bytes, folder: Path, seconds: int) -> tuple[int | str, float, str]:
    """Train from a file; return the exit code, the peak of memory in MiB, and what was said."""
    command = [python, "-m", "tastemaker", "train", file, "--out", str(folder / "out" / "1")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        impatience = threading.Timer(seconds, process.kill)
        impatience.start()
        assert process.stdout is not None
        said = process.stdout.read().decode(errors="replace")
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        hung = not impatience.is_alive()
        impatience.cancel()
    return "hung" if hung else process.returncode, used.ru_maxrss / 1024, said


if __name__ == "__main__":
    main()
