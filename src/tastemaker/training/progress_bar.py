"""A progress bar for training: Rich's in a terminal, HTML in a notebook, none where output is not watched."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from tastemaker.training.progress import Progress, Watcher, nobody

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["AnyProgress", "notebook_bar", "shown_progress", "terminal_bar"]

AnyProgress: TypeAlias = Watcher | bool | None
"""Whether a bar is shown, or what is told of every step; ``None`` shows one in a terminal or a notebook"""

COMPILING = "Compiling the kernels: once on this machine, some seconds; later runs reuse them."

BETWEEN = 0.1
"""Seconds between two drawings in a notebook."""


@contextmanager
def shown_progress(progress: AnyProgress) -> Iterator[Watcher]:
    """Yield what training should call for the progress that was asked for."""
    if callable(progress):
        yield progress
    elif progress is False or (progress is None and not (_notebook() or sys.stderr.isatty())):
        yield nobody
    elif _notebook():
        with notebook_bar() as watch:
            yield watch
    else:
        with terminal_bar() as watch:
            yield watch


@contextmanager
def terminal_bar(console: Console | None = None) -> Iterator[Watcher]:
    """Show a bar of purchases on stderr with loss, accuracy, speed and time left.

    Where the line is short, speed goes first, then the accuracy: the time left stays.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    with Progress(
        TextColumn("{task.description} {task.fields[epoch]}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6, max_width=40)),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=console or Console(stderr=True, highlight=False),
        transient=True,
    ) as bar:
        yield _Drawn(bar)


class _Facts:
    """What is said of a step beside its bar; what was measured stays on while the next epoch has measured nothing yet."""

    def __init__(self) -> None:
        self.stage, self.measured, self.began = "", "", 0.0

    def of(self, step: Progress) -> tuple[int, int, list[str]]:
        """Return how far the stage has come, of how much, and the facts, the most important first."""
        if step.stage != self.stage:
            self.stage, self.measured, self.began = step.stage, "", time.perf_counter()
        passed = (step.epoch - 1) * step.purchases + step.done
        facts = []
        if not math.isnan(step.loss):
            facts = [f"loss {step.loss:.4f}", f"accuracy {step.accuracy:.4f}"]
        speed = passed / max(time.perf_counter() - self.began, 1e-9)
        return passed, step.epochs * step.purchases, [*facts, f"{speed:,.0f} purchases/s"]


class _Drawn:
    """Draws each step of training: a line of its own for choosing settings and for learning the model."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._told = False
        self._facts = _Facts()
        self._measured: list[str] = []

    def __call__(self, step: Progress) -> None:
        if step.compiling:
            if not self._told:
                self._bar.console.print(COMPILING)
            self._told = True
            return
        if step.stage not in self._tasks:
            self._tasks[step.stage] = self._bar.add_task(step.stage, total=None, epoch="", facts="")
            self._measured = []
        passed, whole, facts = self._facts.of(step)
        if len(facts) > 1:
            self._measured = facts[:-1]
        width = self._bar.console.width
        shown = [*self._measured, facts[-1]] if width >= 100 else self._measured[: 2 if width >= 76 else 1]
        self._bar.update(
            self._tasks[step.stage],
            completed=passed,
            total=whole,
            epoch=f"{step.epoch}/{step.epochs}",
            facts="  ".join(shown),
        )


@contextmanager
def notebook_bar() -> Iterator[Watcher]:
    """Show a bar below the cell of a notebook; when the training ends one line of it stays."""
    import IPython.display

    drawing: Any = IPython.display  # untyped
    html = drawing.HTML
    handle = drawing.display(html(""), display_id=True)
    facts, last, began = _Facts(), 0.0, time.perf_counter()
    newest = ""

    def watch(step: Progress) -> None:
        nonlocal last, newest
        if step.compiling:
            newest = COMPILING
            handle.update(html(newest))
            return
        passed, whole, said = facts.of(step)
        share = passed / max(whole, 1)
        newest = f"{step.stage}, epoch {step.epoch}/{step.epochs} · {' · '.join(said)}"
        if time.perf_counter() - last < BETWEEN and passed < whole:
            return
        last = time.perf_counter()
        handle.update(
            html(
                f"<progress value='{share:.4f}' max='1' style='width:18em;vertical-align:middle'></progress> "
                f"{share:.0%} <small>{newest}</small>"
            )
        )

    try:
        yield watch
    finally:
        handle.update(html(f"<small>{newest}; {time.perf_counter() - began:.1f} s in all</small>"))


def _notebook() -> bool:
    """Return whether a Jupyter kernel runs this; a terminal's IPython is a terminal."""
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
