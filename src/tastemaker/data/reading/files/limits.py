"""What a file may hold at most, so that a hostile or broken one ends in a sentence and not in the memory of the machine."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CHUNK",
    "DISK_LEFT",
    "LARGEST_DOCUMENT",
    "LARGEST_WORKBOOK",
    "LONGEST_ID",
    "LONGEST_LINE",
    "MOST_COLUMNS",
    "MOST_FILES",
]

CHUNK: Final = 4 << 20
"""Bytes read at once"""

LONGEST_LINE: Final = 16 << 20
"""Bytes of one line of CSV or JSON lines, and of one row whose quotes enclose line ends"""

MOST_COLUMNS: Final = 10_000
"""Columns of one file"""

MOST_FILES: Final = 100_000
"""Files of one log"""

LONGEST_ID: Final = 4_096
"""Bytes of one id"""

LARGEST_DOCUMENT: Final = 256 << 20
"""Bytes of one JSON document, which is read whole"""

LARGEST_WORKBOOK: Final = 1 << 30
"""Bytes of one workbook when unpacked, which is read whole"""

DISK_LEFT: Final = 1 << 30
"""Bytes that unpacking leaves free in the folder of temporary files"""
