"""What the tests of all rooms share: a small shop, a model trained on it, the real data, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings

from tastemaker.data.reading.readers import read_held_out, read_purchases
from tastemaker.data.splits import Split, hold_out_random
from tastemaker.data.synthetic.shop import Shop, ShopFiles, make_shop, write_shop
from tastemaker.model.config import Config, preset
from tastemaker.model.folder import save
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.train import train

collect_ignore = ["model/older/make.py"]
"""It runs with tastemaker as of ce4f77a only."""

settings.register_profile("house", deadline=None)  # no test is about time, and cores are shared
settings.load_profile("house")

DATA = Path(os.environ.get("TASTEMAKER_DATA", Path(__file__).parents[2] / "shared" / "data"))
ASOS = DATA / "asos"


@pytest.fixture(scope="session")
def shop() -> Shop:
    """400 users, 150 products and 4,000 purchases, with planted tastes."""
    return make_shop(users=400, products=150, purchases=4_000, seed=11)


@pytest.fixture(scope="session")
def split(shop: Shop) -> Split:
    return hold_out_random(shop.purchases, rng=np.random.default_rng(1))


@pytest.fixture(scope="session")
def small_config() -> Config:
    """The workshop's preset, small enough to train in a moment and long enough to learn something."""
    changes = {"dimensions": 12, "epochs": 8, "negatives": 20, "batch": 128, "learning_rate": 20.0}
    return preset("workshop").changed(changes)


@pytest.fixture(scope="session")
def workshop_model(split: Split, small_config: Config) -> TasteModel:
    return train(split.train, small_config, valid=split.held_out, seed=5)


@pytest.fixture(scope="session")
def model_folder(workshop_model: TasteModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model in a folder; copy it before you change it."""
    return save(workshop_model, tmp_path_factory.mktemp("models") / "recommender" / "3")


@pytest.fixture(scope="session")
def shop_files(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> ShopFiles:
    return write_shop(shop, tmp_path_factory.mktemp("shop"))


class Asos(NamedTuple):
    """The files of the workshop's purchases."""

    train: Path
    valid: Path
    users: Path
    products: Path

    def read(self):
        """Return the purchases to learn from and to measure with, over the catalogues."""
        log = read_purchases(self.train, users=self.users, products=self.products)
        return log, read_held_out(self.valid, log.users, log.products).known


@pytest.fixture(scope="session")
def asos() -> Asos:
    """The real data; a test that asks for them is skipped where they are absent."""
    files = Asos(
        ASOS / "dsf_asos_train_with_alphanumeric_dummy_ids.parquet",
        ASOS / "dsf_asos_valid_with_alphanumeric_dummy_ids.parquet",
        ASOS / "dsf_asos_dummy_users_with_alphanumeric_dummy_ids.csv",
        ASOS / "dsf_asos_productIds.csv",
    )
    if not all(file.is_file() for file in files):
        pytest.skip("no real data: set TASTEMAKER_DATA to the folder that holds asos/")
    return files


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tastemaker() -> Run:
    """Run the command line in a process of its own: ``tastemaker("train", log, "--out", folder)``."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tastemaker", *map(str, arguments)]
        environment = os.environ | {"COLUMNS": "200", "PYTHONWARNINGS": "error", "NO_COLOR": "1"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=environment, check=False, **options
        )

    return run


@pytest.fixture(scope="session")
def python() -> Run:
    """Run a piece of Python in a process of its own: ``python(code, *arguments, NAME="value")``."""

    def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=os.environ | environment, check=False
        )

    return run
