"""A small shop that sells day by day, for tests of nights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from starlette.testclient import TestClient

from tastemaker.data.synthetic.shop import make_shop
from tastemaker.nights.run import Run, run_night
from tastemaker.nights.shop_file import read_shop_file
from tastemaker.serving.app import create_app
from tastemaker.serving.front.settings import Settings

START = datetime(2024, 11, 20, tzinfo=UTC)
"""What is sold before is there from the beginning."""

SETTINGS = 'effort = "quick"\nsettings = { dimensions = 8, epochs = 2, "memory.count_weight" = 1.0 }\n'


@dataclass
class World:
    """A shop in a folder, and what it will have sold."""

    folder: Path
    sales: pl.DataFrame

    @property
    def file(self) -> Path:
        return self.folder / "shop.toml"

    @property
    def models(self) -> Path:
        return self.folder / "models" / "recommender"

    def describe(self, text: str = "", *, source: str = "log.parquet", learn: str = SETTINGS) -> None:
        self.file.write_text(
            f'[log]\nfrom = "{source}"\n[replay]\nfewest_questions = 5\n[learn]\n{learn}{text}'
        )

    def until(self, day: int) -> pl.DataFrame:
        """What was sold up to a day."""
        return self.sales.filter(pl.col("time") < START + timedelta(days=day))

    def sell(self, day: int, log: pl.DataFrame | None = None) -> None:
        (self.until(day) if log is None else log).write_parquet(self.folder / "log.parquet")

    def night(self, **options: object) -> Run:
        return run_night(read_shop_file(self.file), **options)

    def stable(self) -> int:
        from tastemaker.serving.models.labels import read_labels

        return read_labels(self.models).versions["stable"]

    def checksums(self, version: int) -> dict[str, str]:
        """The checksum of every file of a version."""
        from tastemaker.model.folder import read_manifest

        return {
            name: one["sha256"] for name, one in read_manifest(self.models / str(version))["files"].items()
        }


def make_world(folder: Path) -> World:
    folder.mkdir(parents=True, exist_ok=True)
    sales = make_shop(users=300, products=80, purchases=6_000, seed=4).purchases.to_frame()
    world = World(folder, sales.with_columns(pl.col("time").dt.replace_time_zone("UTC")))
    world.describe()
    return world


KILLED = """
import os, signal, sys
from tastemaker.nights.run import run_night
from tastemaker.nights.shop_file import read_shop_file

def at_step(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

run_night(read_shop_file(sys.argv[1]), at_step=at_step)
"""


def killed_at(file: Path, step: str) -> None:
    """Run a night in a process that is killed as it comes to a step."""
    _killed(KILLED, file, step)


IN_TRAINING = """
import os, signal, sys
from tastemaker.nights.run import run_night
from tastemaker.nights.shop_file import read_shop_file
from tastemaker.training import train

left, write = int(sys.argv[2]), train.write_checkpoint

def written(state, folder):
    global left
    write(state, folder)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

train.write_checkpoint = written
run_night(read_shop_file(sys.argv[1]))
"""


def killed_in_training(file: Path, checkpoint: int) -> None:
    """Run a night in a process that is killed when it has written this many checkpoints."""
    _killed(IN_TRAINING, file, str(checkpoint))


def _killed(program: str, file: Path, when: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", program, str(file), when],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, (when, ran.stderr)


@contextmanager
def serving_world(world: World) -> Iterator[TestClient]:
    """The shop's models, served in this process."""
    app = create_app(Settings(models=world.folder / "models", log_requests=False))
    with TestClient(app, base_url="http://localhost") as client:
        yield client
