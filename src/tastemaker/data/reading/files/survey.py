"""One look at all bytes of a text file before it is parsed: how long its lines are, what encodes it, whether it has quotes."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tastemaker.data.reading.files.limits import CHUNK, LONGEST_LINE
from tastemaker.errors import UnreadableFile

__all__ = ["Encoding", "Survey", "encoding_of", "recoded", "survey", "within_limits"]

Encoding = str
"""The name of a codec"""

MARKS: Final = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks, longer ones first where one begins with another"""

SPOKEN: Final = {"utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-16": "UTF-16", "utf-32": "UTF-32",
                 "cp1252": "Windows-1252"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over the bytes of a text file found."""

    encoding: Encoding
    """``utf-8`` where no other is needed"""
    has_quotes: bool
    has_returns: bool
    """Whether lines end with CR alone"""
    note: str | None = None
    """The encoding in a sentence, where it is not UTF-8"""

    @property
    def is_plain(self) -> bool:
        """Tell whether the file can be parsed as it is."""
        return self.encoding == "utf-8" and not self.has_returns


def encoding_of(start: bytes) -> Encoding:
    """Return what the first bytes of a text say of its encoding, ``utf-8`` where they say nothing."""
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    even, odd = start[0:4096:2], start[1:4096:2]
    if len(odd) > 3 and odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if len(odd) > 3 and even.count(0) > 0.4 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return "utf-8"


def within_limits(chunks: Iterator[bytes], label: str, limit: int = LONGEST_LINE) -> Iterator[bytes]:
    """Pass chunks on; raise `UnreadableFile` at a line that is longer than the limit.

    A chunk is no longer than the limit, so that the ends of the chunks tell everything.
    """
    run = 0
    for chunk in chunks:
        first, last = _line_ends(chunk)
        longest = run + (len(chunk) if first < 0 else first)
        if longest > limit:
            raise UnreadableFile(
                f"{label} has a line of more than {limit >> 20} MiB, which is the most that is read; "
                "it is no log of purchases, or its line ends are lost."
            )
        run = longest if first < 0 else len(chunk) - last - 1
        yield chunk


def _line_ends(chunk: bytes) -> tuple[int, int]:
    first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
    return (first, last) if first >= 0 else (chunk.find(b"\r"), chunk.rfind(b"\r"))


def survey(path: Path, label: str) -> Survey:
    """Look through all bytes of a text file.

    Raises `UnreadableFile` at NUL bytes, at a line that is too long, and where the bytes are neither UTF-8 nor UTF-16 and do
    not look like Western European text.
    """
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4096))
        file.seek(0)
        found = _Bytes(path, label, encoding)
        for chunk in within_limits(iter(lambda: file.read(CHUNK), b""), label):
            found.look_at(chunk)
    return found.survey()


class _Bytes:
    """Counts over the chunks of a file."""

    def __init__(self, path: Path, label: str, encoding: Encoding) -> None:
        self._path, self._label, self._encoding = path, label, encoding
        self._wide = encoding.startswith(("utf-16", "utf-32"))
        self._quotes = self._returns = self._lines = False
        self._size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._pending = self._bad_line = self._valid = self._invalid = self._high = 0

    def look_at(self, chunk: bytes) -> None:
        if self._wide:
            return
        if b"\0" in chunk:
            line = _line_of(self._path, self._size + chunk.find(b"\0"))
            raise UnreadableFile(
                f"{self._label} holds a NUL byte in line {line:,}; it is damaged, or no text. Write it anew."
            )
        self._quotes = self._quotes or b'"' in chunk
        self._returns = self._returns or b"\r" in chunk
        if self._pending or not chunk.isascii():
            self._decode(chunk)
        self._lines = self._lines or b"\n" in chunk
        self._size += len(chunk)

    def _decode(self, chunk: bytes) -> None:
        self._high += len(chunk.translate(None, _ASCII))
        try:
            self._valid += len(chunk) - len(self._decoder.decode(chunk))
        except UnicodeDecodeError as error:
            start = max(0, error.start - self._pending)
            self._bad_line = self._bad_line or _line_of(self._path, self._size + start)
            self._decoder.reset()
            text = chunk.decode("utf-8", errors="ignore")
            kept = len(text.encode())
            self._invalid += len(chunk) - kept
            self._valid += kept - len(text)
        self._pending = len(self._decoder.getstate()[0])

    def survey(self) -> Survey:
        returns = self._returns and not self._lines
        if self._wide:
            return Survey(self._encoding, True, False, f"{self._label} was read as {SPOKEN[self._encoding]}.")
        if self._pending:
            self._bad_line = self._bad_line or _line_of(self._path, self._size)
            self._invalid += self._pending
        return self._western(returns) if self._bad_line else Survey("utf-8", self._quotes, returns)

    def _western(self, returns: bool) -> Survey:
        """Return Windows-1252 for bytes that are no UTF-8, where they look like it."""
        mostly = self._valid >= self._invalid
        if mostly or self._high > 0.3 * self._size:
            why = "though most of it is" if mostly else "and does not look like Western European text"
            raise UnreadableFile(
                f"{self._label} is not UTF-8 text (line {self._bad_line:,}), {why}; save it as UTF-8."
            )
        note = (
            f"{self._label} is not UTF-8 (line {self._bad_line:,}) and was read as Windows-1252; "
            "save it as UTF-8 if names look wrong."
        )
        return Survey("cp1252", self._quotes, returns, note)


_ASCII: Final = bytes(range(128))


def _line_of(path: Path, offset: int) -> int:
    """Return the number of the line, from 1, in which the byte at an offset stands."""
    line = 1
    with path.open("rb") as file:
        while offset > 0 and (chunk := file.read(min(CHUNK, offset))):
            line += chunk.count(b"\n")
            offset -= len(chunk)
    return line


def recoded(path: Path, found: Survey, label: str) -> Iterator[bytes]:
    """Yield a text file as UTF-8 with LF, without a byte-order mark; raise `UnreadableFile` where it cannot be decoded."""
    decoder = codecs.getincrementaldecoder(found.encoding)(errors="strict")
    lines, returns, chunk = 1, found.has_returns, b"-"
    with path.open("rb") as file:
        while chunk:
            chunk = file.read(CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise UnreadableFile(
                    f"{label} is not {SPOKEN.get(found.encoding, found.encoding)} text near line {lines:,}; "
                    "it is cut or damaged. Save it as UTF-8."
                ) from error
            if "\0" in text:
                line = lines + text.count("\n", 0, text.index("\0"))
                raise UnreadableFile(
                    f"{label} holds a NUL in line {line:,}; it is damaged, or no text. Write it anew."
                )
            returns = returns or (lines == 1 and "\r" in text and "\n" not in text)
            if returns:
                text = text.replace("\r", "\n")
            lines += text.count("\n")
            yield text.removeprefix("\ufeff").encode()
