"""Lists for all users, or for all products, as parts of a folder: each part is whole or not there, whoever writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

import polars as pl

from tastemaker.data.databases.address import is_address
from tastemaker.errors import FolderExists, SettingProblem, TastemakerError, UnreadableFile
from tastemaker.model.folder import MANIFEST, load
from tastemaker.ranking.export.to_file import QUERIES_AT_ONCE
from tastemaker.ranking.index.narrowed import packed_for
from tastemaker.ranking.packed import PackedModel, Similarity, by_value, pack
from tastemaker.ranking.recommend import Recommendations, book_of, recommend, similar
from tastemaker.ranking.rules.rule_book import RuleBook
from tastemaker.scale.executor import Done, Executor, Tally
from tastemaker.storage import replace_bytes, replace_text, writing

__all__ = ["DONE", "PLAN", "ListJob", "Written", "write_parts"]

PLAN, DONE = "_plan.json", "_SUCCESS"
"""What the parts of a folder are made of, and the mark that all are there; readers of Parquet pass over both."""

LINES_A_PART = 1 << 18
"""About how many lines one part has; it depends on nothing else, so that the parts are the same everywhere."""


@dataclass(frozen=True, slots=True)
class ListJob:
    """What lists are made of: paths and numbers, so that a worker anywhere can make a part of them."""

    model: str
    """A model's folder, where every worker can read it"""
    what: Literal["users", "products"]
    """Whether every user gets a list, or every product its neighbours"""
    k: int = 10
    include_purchased: bool | None = None
    """``None`` leaves it to the rules"""
    rules: str | None = None
    """A file"""
    catalogue: str | None = None
    """A file"""
    explain: bool = False
    value_dial: float | None = None
    """The dial of expected value; ``None`` ranks by what is most likely"""
    similarity: Similarity = "dot"
    include_self: bool = False
    lines_a_part: int = LINES_A_PART


@dataclass(frozen=True, slots=True)
class Part:
    """One task: the lists of the rows from ``low`` to ``high``, for a file."""

    job: ListJob
    mark: str
    """The digest of what the job is made of"""
    low: int
    high: int
    file: str
    threads: int | None


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_parts` did."""

    parts: int
    """All parts of the folder"""
    kept: int
    """Those that an earlier run had written"""
    lines: int
    """Lines in all parts"""
    tally: Tally = field(default_factory=Tally)
    """Who wrote how many"""


def write_parts(
    job: ListJob,
    folder: Path,
    executor: Executor,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
    on_worker: Callable[[Tally], None] = lambda _: None,
) -> Written:
    """Write all lists of a job into a folder as Parquet files ``part-00000-of-00007.parquet``, by the workers of an executor.

    The same job gives the same bytes with any executor: what a part holds follows from the model and the job alone. A folder in
    which an earlier run of the same job was ended is gone on with. ``on_progress`` is told of rows that are done,
    ``on_worker`` of who did how many parts. Raises `FolderExists` for a folder that holds anything else, `UnreadableFile`,
    `WorkersLost`, and what ranking raises.
    """
    model = load(job.model)
    rows = len(model.users if job.what == "users" else model.products)
    if job.k < 1:
        raise SettingProblem(f"k is {job.k}; it must be at least 1.")
    size = max(1, job.lines_a_part // job.k)
    count = max(1, -(-rows // size))
    mark = _mark(job)
    _begin(folder, {"made of": mark, "rows": rows, "parts": count})
    parts = [
        Part(
            job,
            mark,
            number * size,
            min(rows, (number + 1) * size),
            str(folder.absolute() / f"part-{number:05}-of-{count:05}.parquet"),
            executor.threads,
        )
        for number in range(count)
    ]
    left = [part for part in parts if not Path(part.file).exists()]
    tally = Tally()
    on_progress(sum(part.high - part.low for part in parts if part not in left))

    def count_done(done: Done) -> None:
        tally(done)
        on_worker(tally)
        on_progress(left[done.task].high - left[done.task].low)

    executor.run(write_part, left, on_done=count_done)
    lines = sum(pl.scan_parquet(part.file).select(pl.len()).collect().item() for part in parts)
    replace_bytes(folder / DONE, b"")
    return Written(count, count - len(left), lines, tally)


def write_part(part: Part) -> None:
    """Rank for the rows of one part, and write its file whole or not at all."""
    rank, ids = _ranker(part)
    lows = range(part.low, max(part.high, part.low + 1), QUERIES_AT_ONCE)
    frames = [rank(ids[low : min(low + QUERIES_AT_ONCE, part.high)]).to_frame() for low in lows]
    try:
        with writing(Path(part.file)) as temporary:
            pl.concat(frames).write_parquet(temporary)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TastemakerError(f"cannot write {part.file}: {error}.") from error


def _ranker(part: Part) -> tuple[Callable[[pl.Series], Recommendations], pl.Series]:
    job = part.job
    packed, book = _packed(replace(job, k=1, lines_a_part=1), part.mark)
    if job.what == "products":
        near = partial(
            similar, packed, k=job.k, similarity=job.similarity, include_self=job.include_self, threads=part.threads
        )  # fmt: skip
        return near, packed.model.products.ids
    likely = partial(
        recommend, packed, k=job.k, include_purchased=job.include_purchased,
        rules=book, explain=job.explain, threads=part.threads,
    )  # fmt: skip
    return likely, packed.model.users.ids


@lru_cache(maxsize=1)
def _packed(job: ListJob, mark: str) -> tuple[PackedModel, RuleBook]:
    """Return a model made ready; a worker does it once, for all parts of the same mark."""
    model = load(job.model)
    if job.value_dial is not None:
        model = by_value(model, job.value_dial)
    rows = len(model.users if job.what == "users" else model.products)
    packed = pack(model, catalogue=job.catalogue)
    if job.what == "users" or job.similarity == "dot":  # cosines are sought among vectors of their own
        packed = packed_for(packed, rows, job.k)
    return packed, book_of(packed, job.rules)


def _mark(job: ListJob) -> str:
    """Return a digest of all that decides what the lists are: the content of files, not their names."""
    facts = asdict(job)
    for name in ("model", "rules", "catalogue"):
        path = facts[name]
        if path is None:
            continue
        if is_address(path):
            raise UnreadableFile(f"{path}: lists on several workers are made from files; write a copy first.")
        file = Path(path, MANIFEST) if name == "model" else Path(path)
        try:
            with file.open("rb") as opened:
                facts[name] = file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise UnreadableFile(f"cannot read {file}: {error.strerror or error}.") from error
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _begin(folder: Path, plan: dict[str, object]) -> None:
    """Make the folder, or go on with one of the same plan."""
    text = json.dumps(plan, indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / PLAN).exists():
            if (folder / PLAN).read_text() != text:
                raise FolderExists(
                    f"{folder} holds lists of another model or of other settings; name a new folder."
                )
        elif any(folder.iterdir()):
            raise FolderExists(f"{folder} is not empty; lists in parts get a folder of their own.")
        else:
            replace_text(folder / PLAN, text)
    except OSError as error:
        raise UnreadableFile(f"cannot write to {folder}: {error.strerror or error}.") from error
