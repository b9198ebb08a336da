"""The draft of a shop's file, written from a look at its log: what could be seen is filled in, the rest stands as a comment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.options import Reading

__all__ = ["draft"]


# long: the text of the file, a line each
def draft(
    log: Purchases,
    sources: Sequence[str],
    *,
    columns: Columns,
    reading: Reading,
    users: str | None = None,
    products: str | None = None,
) -> str:
    """Return the text of a shop's file for a log that was just read with these columns and in this way."""
    read = log.read
    chosen = {
        role: name
        for role, name in read.columns.items()
        if role in ("user", "product", "time", "quantity") and name
    }
    lines = [
        "# A shop, for `tastemaker run`. Paths are meant from the folder of this file; ${NAME} is a variable of the environment,",
        "# which is where passwords belong. Every line that begins with # shows the value that holds without it.",
        "",
        "[log]",
        f"# {read.sentence()}",
        *(f"# {line}" for line in read.lines()[1:]),
        *(f"# Beware: {warning}" for warning in read.warnings),
        f"from = {_listed(sources)}",
        *(
            f"{key} = {_quoted(value)}"
            for key, value in (("query", reading.query), ("table", reading.table))
            if value
        ),
        *(f"{role}_column = {_quoted(str(name))}" for role, name in chosen.items()),
        *_how(reading),
        "",
        "[users]",
        f"from = {_quoted(users)}" if users else '# from = "users.csv"            # a catalogue of users',
        '# features = ["country"]        # which of its columns, or of the log\'s, describe users',
        "",
        "[products]",
        f"from = {_quoted(products)}"
        if products
        else '# from = "products.csv"         # a catalogue of products',
        '# features = ["category"]       # which of its columns, or of the log\'s, describe products',
        "",
        "[live]",
        '# events = "events.db"          # the file of `tastemaker serve --events`',
        "# after_log = true              # only events later than the log's last purchase count; the log has the others",
        "",
        "[learn]",
        '# effort = "standard"           # quick, standard, thorough',
        "# seed = 0",
        '# workers = "local"             # who learns and makes the lists: local:PROCESSES, ray, ray://HOST:PORT',
        "# settings = { }                # any setting, as of `train --set`",
        "",
        "[bounds]                        # beyond them a run stops, exit code 3, and `run --accept` lets it pass once",
        "# fewest_rows = 0.98            # purchases, as a part of the last run's",
        "# most_rows = 2.0",
        "# fewest_users = 0.98",
        "# fewest_products = 0.95",
        "# most_products = 2.0",
        "# most_dropped = 0.05           # by so much the share of rows that cannot be used may rise",
        "# oldest_days = 2               # how old the last purchase may be; without it, of any age",
        "# most_new_users = 0.95         # of the purchases since the last run, those by users that it did not know",
        "# most_new_products = 0.5",
        "# lowest_quality = 0.5          # how well the night's purchases are foreseen, as a part of the last nights' median",
        "",
        "[replay]                        # the new model and the one in service are asked for what was bought since",
        '# metric = "ndcg@10"            # significantly worse in it: the run stops, exit code 3',
        "# fewest_questions = 50",
        f"include_purchased = {'true' if _repeats(log) else 'false'}       # whether lists may hold what a user bought before",
        "# days = 7                      # of the end of the log, where no version is in service yet",
        "",
        "[publish]",
        '# models = "models"             # the folder that `tastemaker serve` is given',
        '# name = "recommender"',
        '# label = "stable"',
        "# keep = 5                      # versions",
        "",
        "[lists]",
        '# users = "lists.parquet"       # lists for all users, as of `recommend --out`: a file or postgresql://…#lists',
        '# similar = "similar.parquet"   # similar products',
        '# vectors = "vectors"           # a folder for users.parquet and products.parquet, or postgresql://…#vectors',
        "# k = 20",
        "",
        "[watch]                         # after the switch; where the service breaks a bound, it goes back by itself",
        '# url = "http://127.0.0.1:8501"',
        "# minutes = 10",
        "# fewest_requests = 100",
        "# most_errors = 0.01",
        "# most_empty = 0.05",
        "# most_p99_ms = 250",
        "# least_clicks = 0.5            # of the click rate of the week before, from the outcomes in [live] events",
        '# key = "TASTEMAKER_KEY"        # the variable that holds a key which may read /metrics',
    ]
    return "\n".join(lines) + "\n"


def _how(reading: Reading) -> list[str]:
    """Return the lines of how the log is read, where anything was said of it."""
    lines = []
    for key in ("on", "time_format", "time_unit", "event_column", "weight_column", "value_column"):
        value = getattr(reading, key)
        if value is not None:
            lines.append(f"{key} = {_quoted(value)}")
    for key in ("where", "join", "context"):
        if getattr(reading, key):
            lines.append(f"{key} = {_listed(getattr(reading, key))}")
    if reading.day_first is not None:
        lines.append(f"day_first = {str(reading.day_first).lower()}")
    if reading.keep_null_words:
        lines.append("keep_null_words = true")
    if reading.events:
        inside = ", ".join(f"{kind} = {_listed(words)}" for kind, words in reading.events.items())
        lines.append(f"events = {{ {inside} }}")
    return lines


def _repeats(log: Purchases) -> bool:
    """Return whether users buy again what they bought: a fifth of the purchases and more."""
    return log.read.repeats > 0.2 * len(log)


def _listed(texts: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(str(text)) for text in texts) + "]"


def _quoted(text: str | Path) -> str:
    return json.dumps(str(text), ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # a TOML string is spelled as a JSON string
