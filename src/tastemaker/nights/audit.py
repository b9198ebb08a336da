"""An audit: the receipt of a version, computed again from the log that it says it was made from."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tastemaker.errors import ModelFolderProblem
from tastemaker.model.folder import load, read_manifest, save
from tastemaker.model.manifest import receipt_of
from tastemaker.model.taste_model import TasteModel
from tastemaker.nights.night_log import read_night
from tastemaker.nights.shop_file import ShopFile
from tastemaker.nights.steps import config_of, cut_of
from tastemaker.training.forget import without_users
from tastemaker.training.train import train

__all__ = ["receipt_learned_anew", "receipt_without"]


def receipt_without(folder: Path, user: str) -> str:
    """Return the receipt of a version without a user, as `forget` leaves it; raise `UnknownId` where it has none such."""
    model = load(folder)
    return _receipt(without_users(model, model.users.rows([user])))


def receipt_learned_anew(folder: Path, shop: ShopFile) -> str:
    """Learn again from the shop's sources, up to the last event of a version, without those who are to be forgotten.

    The receipt is that of the version where it learned from the same. Raises what `read_night` and `train` raise, and
    `ModelFolderProblem` for a version without dates.
    """
    cut = cut_of(load(folder))
    if not cut:
        raise ModelFolderProblem(f"{folder} has no dates, so what it learned from cannot be told.")
    log = read_night(shop).purchases(until=cut)
    learn = shop.learn
    return _receipt(train(log, config_of(shop), seed=learn.seed, threads=learn.threads, progress=False))


def _receipt(model: TasteModel) -> str:
    """Write a model to a folder that is removed, since a receipt is one of files."""
    with tempfile.TemporaryDirectory(prefix="tastemaker-receipt-") as scratch:
        return receipt_of(read_manifest(save(model, Path(scratch) / "model")))
