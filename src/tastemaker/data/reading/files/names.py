"""How names of files and columns are shown, whatever they hold."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shown"]


def shown(name: str | Path) -> str:
    r"""Return a name that a terminal can print: what is no printable character is written as an escape.

    >>> import os
    >>> shown("ev\x1b[31mil.csv"), shown(os.fsdecode(b"caf\xe9.csv")), shown("Käufe.csv")
    ('ev\\x1b[31mil.csv', 'caf\\xe9.csv', 'Käufe.csv')
    """
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(name))


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that the file system's encoding does not know
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
