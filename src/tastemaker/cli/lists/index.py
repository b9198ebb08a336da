"""``tastemaker index``: an approximate index beside a model, and what it misses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemaker.cli.terminal.console import print_json, say, size
from tastemaker.cli.terminal.options import AsJson, ModelFolder, Threads, workers_flag

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.model.taste_model import TasteModel
    from tastemaker.ranking.index.approximate import Approximate

__all__ = ["Approximately", "approximate_of", "index"]

Approximately = Annotated[
    bool,
    typer.Option(
        "--approximate", help="Let the index of `tastemaker index` find the products; it may miss some."
    ),
]


def index(
    folder: ModelFolder,
    wanted: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The recall for which enough of the index is read.")
    ] = 0.97,
    seed: Annotated[int, typer.Option(help="Seed of the draw of users on whom recall is measured.")] = 0,
    workers: Annotated[
        str | None,
        workers_flag(
            "Who makes parts of the index and measures it: local, local:PROCESSES, ray or ray://HOST:PORT."
        ),
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Build an approximate index beside a model's folder, for catalogues too large to rank whole at each request.

    It stands in FOLDER.index; the model stays as it is. How much of the exact lists it finds is measured and kept with it.
    """
    from tastemaker.ranking.index.index_folder import build_index, index_folder
    from tastemaker.scale.executor import Tally
    from tastemaker.scale.where import executor_of

    tally = Tally()
    executor = executor_of(workers or "local", threads)
    facts = build_index(folder, wanted=wanted, seed=seed, executor=executor, tally=tally)
    target = index_folder(folder)
    missed = _missed(facts, target)
    space = sum(file.stat().st_size for file in target.iterdir())
    if as_json:
        print_json({"index": str(target), "bytes": space} | facts)
        if missed:
            say(missed)
        return
    recall, seconds = facts["recall"], facts["seconds"]
    users = max(seconds["users"], 1)
    say(f"Wrote {target} ({size(space)}) in {seconds['build']:.1f} s.")
    if workers is not None:
        say(f"Parts and lists: {tally.sentence()}.")
    say(f"Recall for {recall['users']:,} users: {recall['10']:.4f} at 10, {recall['100']:.4f} at 100.")
    if missed:
        say(missed)
    say(
        f"A list of 10 takes {1e3 * seconds['approximate'] / users:.2f} ms with it, {1e3 * seconds['exact'] / users:.2f} ms "
        "exactly, many at once."
    )
    if seconds["approximate"] >= seconds["exact"]:
        say("The exact ranking is as fast here: do without --approximate.")


def _missed(facts: dict[str, Any], target: Path) -> str | None:
    """Return a sentence where the recall of the users measured misses what was wanted at some length, else ``None``."""
    from tastemaker.ranking.index.index_folder import LENGTHS, MOST_OVER

    parameters = facts["parameters"]
    wanted = parameters["wanted"]
    recall, k = min((facts["recall"][str(k)], k) for k in LENGTHS)
    if recall >= wanted:
        return None
    more = wanted < 1 and (parameters["probes"] < parameters["cells"] or parameters["over"] < MOST_OVER)
    advice = f"remove {target} and ask for a higher --wanted" if more else "no more of the index can be read"
    # rounded down, since 0.96996 would read as the 0.97 that it is not
    return f"The recall at {k} is {math.floor(1e4 * recall) / 1e4:.4f}, which misses the --wanted {wanted:g}; {advice}."


def approximate_of(folder: Path, model: TasteModel, asked: bool) -> Approximate | None:
    """Return the candidates with the index of this folder where ``--approximate`` asked for it."""
    if not asked:
        return None
    from tastemaker.ranking.index.index_folder import load_index

    return load_index(folder, model)
