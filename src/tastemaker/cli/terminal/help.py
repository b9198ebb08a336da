"""How ``--help`` writes what a flag takes: as people write it (N, TEXT, FILE), flags without a word, arguments without braces."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Commands", "RankingCommand"]

WORDS = {"int": "N", "float": "X", "str": "TEXT", "path": "PATH", "bool": ""}
"""The word for each type that a flag takes."""


class Command(TyperCommand):
    """A command whose help names no types of Python."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with words for what they take."""
        return [_in_words(param, ctx) for param in super().get_params(ctx)]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line, ``[OPTIONS] LOG...``."""
        return [_without_braces(piece) for piece in super().collect_usage_pieces(ctx)]


class RankingCommand(Command):
    """A command that ranks: it says when it waits for kernels that are compiled.

    Arrays that are mapped from a model's folder are another type to Numba than those of a training, so that the first list may wait
    where a training has compiled before.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        from tastemaker.cli.terminal.console import say
        from tastemaker.kernels.compiling import on_compile
        from tastemaker.training.progress_bar import COMPILING

        with on_compile(lambda: say(COMPILING)):
            return super().invoke(ctx)


class Commands(TyperGroup):
    """The same for a group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with words for what they take."""
        return [_in_words(param, ctx) for param in super().get_params(ctx)]


def _in_words(param: Any, ctx: Any) -> Any:
    """Give a parameter its word; Typer of other versions, which asks otherwise, keeps its own."""
    said = getattr(type(param), "display_type", None)
    if said is not None:
        param.display_type = partial(
            _word, "" if param.param_type_name == "argument" else said(param, ctx=ctx)
        )
    return param


def _word(type_said: str, ctx: Any = None) -> str:
    """Return the word for a type as Typer writes it.

    >>> _word("<int range>"), _word("<list[int]>"), _word("<last|random|time>"), _word("<bool>")
    ('N', 'N', 'last|random|time', '')
    """
    bare = re.sub(r"^list\[(.*)\]$", r"\1", type_said.strip("<>").removesuffix(" range"))
    return WORDS.get(bare.lower(), bare)


def _without_braces(piece: str) -> str:
    """Return a part of a usage line as manuals write it.

    >>> _without_braces("{LOG...}..."), _without_braces("{FOLDER}"), _without_braces("[OPTIONS]")
    ('LOG...', 'FOLDER', '[OPTIONS]')
    """
    return re.sub(r"^\{(.*?)(?:\.\.\.)?\}(\.\.\.)?$", r"\1\2", piece)
