"""The command line: one file per command, each of which parses, makes one call and renders."""

from __future__ import annotations

import sys

CTRL_C = 130
"""The exit code in which Typer hides that a command was interrupted."""


def main() -> None:
    """Run ``tastemaker``: exit 0 when done, 1 on our error (one line, no traceback), 2 on wrong usage."""
    from tastemaker.cli.terminal.interrupts import end_at_once

    end_at_once()
    from tastemaker.cli.app import app
    from tastemaker.data.reading.remedies import speaking_of_flags
    from tastemaker.errors import TastemakerError

    try:
        with speaking_of_flags():
            app()
    except TastemakerError as error:
        _fail(str(error))
    except MemoryError:
        _fail("there is not enough memory; use fewer --dimensions, fewer --threads or a machine with more.")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}.")
    except KeyboardInterrupt:
        _fail("interrupted.")
    except SystemExit as end:
        if end.code != CTRL_C:
            raise
        _fail("interrupted.")


def _fail(message: str) -> None:
    from tastemaker.data.databases.address import without_secrets
    from tastemaker.data.reading.files.names import shown

    line = shown(without_secrets(" ".join(message.split())))
    print(f"tastemaker: {line}", file=sys.stderr)
    sys.exit(1)
