"""``tastemaker demo``: the whole story on the built-in synthetic shop, offline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.terminal.console import output, print_json, say
from tastemaker.cli.terminal.options import AsJson, Threads
from tastemaker.cli.terminal.tables import Sheet, measured, print_sheet
from tastemaker.training.progress_bar import terminal_bar

if TYPE_CHECKING:
    from rich.table import Table

    from tastemaker.data.splits import Split
    from tastemaker.data.synthetic.shop import Shop
    from tastemaker.evaluation.protocol import Report
    from tastemaker.model.taste_model import TasteModel

__all__ = ["demo"]

SHOWN = 6
MEASURES = ("recall@10", "ndcg@10", "recall@100", "coverage@10")


def demo(
    seed: Annotated[int, typer.Option(help="Another seed makes another shop.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the shop's files and the model here.", show_default=False),
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Make a shop, learn its customers' tastes, recommend, and measure it all against the best-seller list.

    Everything is made up, from the customers to the jumpers, and needs no network. `--out DIR` keeps the files, so that every other
    command can be tried on them.
    """
    from tastemaker.model.folder import check_target

    began = time.perf_counter()
    target = None if out is None else check_target(out / "models" / "demo" / "1")
    shop, split, model = _learn(seed, threads)
    reports = _measure(split, model, seed, threads)
    if not as_json:
        _show(shop, split, model, reports)
    folder = None if out is None or target is None else _keep(shop, split, model, out, target)
    seconds = time.perf_counter() - began
    if as_json:
        print_json(
            {
                "seconds": seconds,
                "folder": None if folder is None else str(folder),
                "reports": {name: report.as_dict() for name, report in reports.items()},
            }
        )
        return
    say(f"All of it took {seconds:.1f} s.")
    if folder is not None:
        say(f"Kept in {out}. Next: tastemaker recommend {folder} --user {model.users.ids[0]}")
    else:
        say(
            "Next: tastemaker demo --out DIR keeps the files; tastemaker train LOG --out models/recommender/1 takes yours."
        )


def _learn(seed: int, threads: int | None) -> tuple[Shop, Split, TasteModel]:
    """Make a shop, hold out a part of its purchases, and learn the default model from the rest."""
    import numpy as np

    from tastemaker.data.splits import hold_out_random
    from tastemaker.data.synthetic.shop import make_shop
    from tastemaker.model.config import preset
    from tastemaker.training.train import train

    shop = make_shop(seed=seed)
    split = hold_out_random(shop.purchases, rng=np.random.default_rng(seed))
    say(
        f"A shop with {len(shop.purchases.users):,} customers, {len(shop.purchases.products):,} products and "
        f"{len(shop.purchases):,} purchases; {len(split.held_out):,} of them are held out to measure with."
    )
    with terminal_bar() as watch:
        model = train(split.train, preset("default"), seed=seed, threads=threads, progress=watch)
    return shop, split, model


def _measure(split: Split, model: TasteModel, seed: int, threads: int | None) -> dict[str, Report]:
    from tastemaker.evaluation.evaluate import evaluate
    from tastemaker.training.baselines.best_sellers import best_sellers

    return {
        "best sellers": evaluate(best_sellers(split.train), split.held_out, seed=seed, threads=threads),
        "tastemaker": evaluate(model, split.held_out, seed=seed, threads=threads),
    }


def _show(shop: Shop, split: Split, model: TasteModel, reports: dict[str, Report]) -> None:
    out = output()
    out.print()
    _show_customer(shop, model, split.held_out.user_rows)
    out.print()
    _show_neighbours(shop, model)
    out.print()
    print_sheet(_quality(reports))


def _show_customer(shop: Shop, model: TasteModel, held_out_users: object) -> None:
    import numpy as np

    from tastemaker.ranking.recommend import recommend

    lengths = np.diff(model.histories.offsets)
    measured = np.unique(np.asarray(held_out_users))
    user = int(measured[np.argmin(np.abs(lengths[measured] - SHOWN))])
    bought = [_describe(shop, row) for row in model.histories.of(user)[:SHOWN]]
    lists = recommend(model, [model.users.ids[user]], k=SHOWN)
    liked = [_describe(shop, row) for row in lists.lists[0][0]]
    output().print(
        _side_by_side(f"Customer {model.users.ids[user]} bought", "and would buy next", bought, liked)
    )


def _show_neighbours(shop: Shop, model: TasteModel) -> None:
    import numpy as np

    from tastemaker.ranking.recommend import similar

    bought = np.bincount(np.asarray(model.histories.products), minlength=len(model.products))
    row = int(np.argsort(-bought, kind="stable")[len(bought) // 20])
    lists = similar(model, [model.products.ids[row]], k=SHOWN, similarity="cosine")
    near = [_describe(shop, other) for other in lists.lists[0][0]]
    output().print(_side_by_side("The product", "and its nearest neighbours", [_describe(shop, row)], near))


def _describe(shop: Shop, row: int) -> str:
    product = shop.catalogue.row(int(row), named=True)
    return (
        f"{product['name']}\n[dim]{product['department']}, {product['style']}, £{product['price']:.0f}[/dim]"
    )


def _side_by_side(left: str, right: str, first: list[str], second: list[str]) -> Table:
    from rich.table import Table

    table = Table(left, right, box=None, header_style="bold", padding=(0, 3, 0, 0), title_justify="left")
    for place in range(max(len(first), len(second))):
        table.add_row(*[part[place] if place < len(part) else "" for part in (first, second)])
    return table


def _quality(reports: dict[str, Report]) -> Sheet:
    rows = [
        [name, *(measured(report.metrics[measure], 3) for measure in MEASURES)]
        for name, report in reports.items()
    ]
    return Sheet(["mean (95 % interval)", *MEASURES], rows)


def _keep(shop: Shop, split: Split, model: TasteModel, out: Path, folder: Path) -> Path:
    from tastemaker.data.synthetic.shop import write_log, write_shop
    from tastemaker.model.folder import save

    write_shop(shop, out)
    write_log(split.train, out / "train.parquet")
    write_log(split.held_out, out / "held_out.parquet")
    return save(model, folder)
