"""What a training chose by itself, in words: epochs, memory, age, rates, what each column and kind of event brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tastemaker.cli.terminal.console import error_console, say

if TYPE_CHECKING:
    from tastemaker.model.config import Config
    from tastemaker.model.record import TrainingRecord
    from tastemaker.model.settings import KindSettings

__all__ = ["chosen_lines", "dial_table", "say_chosen"]

PARTS = ("all", "known", "new")
"""Of which questions a dial was measured"""


def say_chosen(record: TrainingRecord) -> None:
    """Say which settings chose themselves, by what, and what each source beside the pairs brings."""
    for line in chosen_lines(record):
        say(line)
    curve = record.metrics.get("dial")
    if curve and any(point["new"] for point in curve):
        error_console().print(dial_table(curve))


def chosen_lines(record: TrainingRecord) -> Iterator[str]:
    """Yield the sentences of `say_chosen`; none where every setting was given."""
    config, metrics = record.config, record.metrics
    if config is None or "with_memory" not in metrics:
        return
    if "tried" in metrics:
        tastes = f"{config.taste.dimensions} dimensions, decay {config.taste.decay:.3g}, rare decay {config.taste.rare_decay:.3g}"
        yield f"The best of {len(metrics['tried'])} tastes there: {tastes}."
    users = f"{metrics['users']:,} users"
    if "users_of_epochs" in metrics:
        users += f", {metrics['users_of_epochs']:,} for the epochs"
    yield (
        f"Chosen on a part held out of the log ({users}), by {metrics['measure']}: "
        f"{config.taste.epochs} epochs ({metrics['taste']:.4f} with taste alone), then {_memory_in_words(config)} "
        f"({metrics['with_memory']:.4f} in all)."
    )
    if "unseen" in metrics:
        yield (
            f"Learned once, since the log is long: the vectors have not seen {metrics['unseen']:,} purchases of the users that "
            "settings were chosen by; all else knows them."
        )
    if "without_numbers" in metrics:
        yield _numbers_in_words(config, metrics)
    if "tail" in metrics:
        yield _tail_in_words(config, metrics)
    if "questions" in metrics:  # the held-out part was lived through
        yield _age_in_words(config)
        if config.live.rate:
            yield _rates_in_words(config)
    yield from _gains_in_words(config, metrics)


def _gains_in_words(config: Config, metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each column, kind of event and the weight column bring, with one standard error to either side."""
    weight = {"the weight column": metrics["weight"]} if "weight" in metrics else {}
    kinds = metrics.get("kinds", {})
    for name, found in {**metrics.get("columns", {}), **kinds, **weight}.items():
        if "gain" not in found:
            yield f"{name}: left out, {found['why']}."
            continue
        brings = f"{found['gain']:+.1%} ({found['low']:+.1%} to {found['high']:+.1%}) of {metrics['measure']}"
        says = _kind_in_words(config.kinds, name) if name in kinds else ""
        kept = bool(says) if name in kinds else found.get("kept", True)
        yield f"{name}: {brings}{f'; {says}' if says else ''}" + ("." if kept else ", left out.")


def _kind_in_words(kinds: KindSettings, name: str) -> str:
    """Return what an event of a kind says; empty where it says nothing."""
    parts = {
        "its product gains {:g}": kinds.of("own").get(name, 0.0),
        "what is bought after it weighs {:g}": kinds.of("after").get(name, 0.0),
        "taste heeds it by {:g}": kinds.of("taste").get(name, 0.0),
    }
    said = [text.format(value) for text, value in parts.items() if value]
    if said and (kinds.places or kinds.days):
        said.append(f"it counts half after {_half_life(kinds.places, kinds.days, 'of its kind')}")
    return ", ".join(said)


def _memory_in_words(config: Config) -> str:
    """Return what was chosen beside taste, such as ``memory of common purchases with weight 1, no trend``."""
    memory, trend = config.memory, config.trend.weight
    parts = {
        "common purchases": memory.count_weight,
        "a regression among products": memory.ridge_weight,
        "a spectral part": memory.spectral_weight,
        "neighbours by number": memory.number_weight,
        "steps in the order of time": memory.directed_weight,
    }
    weighed = [f"{name} (weight {weight:g})" for name, weight in parts.items() if weight]
    memory_said = f"memory of {' and '.join(weighed)}" if weighed else "no memory of common purchases"
    if config.live.rate:
        return f"{memory_said} and live rates of sales"
    return f"{memory_said} and {f'trend (weight {trend:g})' if trend else 'no trend'}"


def _numbers_in_words(config: Config, metrics: Mapping[str, Any]) -> str:
    """Return what ids that are numbers bring: they are used beside the purchases, and whoever compares models must know."""
    if not config.memory.number_weight:
        return "The ids of products are numbers; neighbours by number rank no better by 2%, and are left out."
    gain = metrics["with_memory"] / metrics["without_numbers"] - 1 if metrics["without_numbers"] else 0.0
    return (
        f"The ids of products are numbers; neighbours by number bring {gain:+.1%} of {metrics['measure']} there. "
        "--set memory.number_weight=0 leaves them out."
    )


def _tail_in_words(config: Config, metrics: Mapping[str, Any]) -> str:
    """Return the dial of the long tail and what it changes on the part held out."""
    dial = config.popularity.tail or 0.0
    point = next(point for point in metrics["tail"] if point["tail"] == dial)
    if not dial:
        return f"Every dial of the long tail lowers {metrics['measure']} there: it stays at 0."
    return (
        f"The dial of the long tail is {dial:g}: it changes {metrics['measure']} by {point['change']:+.1%} "
        f"({point['low']:+.1%} to {point['high']:+.1%}) there, and shows more that few bought."
    )


def _age_in_words(config: Config) -> str:
    """Return how purchases fade, in taste and in memory."""
    order, memory = config.order, config.memory
    remembers = any(
        (memory.count_weight, memory.ridge_weight, memory.spectral_weight, memory.directed_weight)
    )
    parts = {"taste": _half_life(order.taste_places, order.taste_days)}
    if remembers:
        parts["memory"] = _half_life(order.memory_places, order.memory_days)
    fading = [f"after {after} in {part}" for part, after in parts.items() if after]
    steady = [part for part, after in parts.items() if not after]
    if not fading:
        return f"A purchase of any age counts alike, in {' and in '.join(parts)}."
    alike = f"; in {steady[0]} age does not matter" if steady else ""
    return f"A purchase counts half {', '.join(fading)}{alike}."


def _half_life(places: float | None, days: float | None, which: str = "") -> str:
    """Return a half-life in words, such as ``2 later ones and 90 days``; empty where nothing fades."""
    parts = (
        [f"{places:g} later one{'' if places == 1 else 's'}{f' {which}' if which else ''}"] if places else []
    )
    parts += [f"{days:g} days"] if days else []
    return " and ".join(parts)


def _rates_in_words(config: Config) -> str:
    live = config.live
    said = f"The rate of sales has the weight {live.rate:g}; a purchase counts half in it after {live.half_life:g} days"
    if live.young:
        said += (
            f", and a product that began to sell lately is counted for those days (damped by {live.young:g})"
        )
    moves = (
        f"move towards their buyers ({live.fold_in:g})"
        if live.fold_in
        else "stand still until the next training"
    )
    dial = (
        f" A product that never sold gains {live.dial:g}."
        if live.dial
        else " Products that never sold gain nothing."
    )
    return f"{said}. Vectors of products {moves}.{dial}"


def dial_table(curve: Sequence[Mapping[str, float]]) -> Table:
    """Return what each dial for new products costs and gives, as it was measured on the part held out."""
    table = Table("dial for new products", *PARTS, box=None, header_style="bold")
    for column in table.columns:
        column.justify = "right"
    for point in curve:
        table.add_row(f"{point['dial']:g}", *(f"{point[part]:.4f}" for part in PARTS))
    return table
