"""The commands of ``tastemaker``, gathered."""

from __future__ import annotations

from typing import Annotated

import typer

from tastemaker.cli.doctor import doctor
from tastemaker.cli.fetch import fetch
from tastemaker.cli.learning.compare import compare
from tastemaker.cli.learning.demo import demo
from tastemaker.cli.learning.evaluate import evaluate
from tastemaker.cli.learning.inspect import inspect
from tastemaker.cli.learning.split import split
from tastemaker.cli.learning.train import train
from tastemaker.cli.lists.add_products import add_products
from tastemaker.cli.lists.export import export
from tastemaker.cli.lists.index import index
from tastemaker.cli.lists.recommend import recommend
from tastemaker.cli.lists.similar import similar
from tastemaker.cli.service.events import events_app
from tastemaker.cli.service.experiment import experiment_app
from tastemaker.cli.service.forget import forget, receipt
from tastemaker.cli.service.key import key_app
from tastemaker.cli.service.promote import promote, rollback
from tastemaker.cli.service.run import history, init, run
from tastemaker.cli.service.serve import serve
from tastemaker.cli.terminal.help import Command, Commands, RankingCommand

__all__ = ["app"]

app = typer.Typer(
    name="tastemaker",
    help="The recommender that a shop can trust: purchases in, ranked and measured recommendations out.",
    epilog="Start with `tastemaker demo`; then `tastemaker train LOG --out models/recommender/1`.",
    no_args_is_help=True,
    cls=Commands,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("tastemaker"))
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


RANKING = (evaluate, recommend, similar)

for command in (
    demo,
    fetch,
    inspect,
    split,
    train,
    evaluate,
    compare,
    recommend,
    similar,
    index,
    export,
    add_products,
    serve,
    promote,
    rollback,
    init,
    run,
    history,
    forget,
    receipt,
    doctor,
):
    app.command(cls=RankingCommand if command in RANKING else Command)(command)
app.add_typer(key_app)
app.add_typer(events_app)
app.add_typer(experiment_app)
