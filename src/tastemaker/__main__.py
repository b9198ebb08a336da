"""``python -m tastemaker`` is the command line."""

from tastemaker.cli import main

main()
