"""Checkpoints: an interrupted training goes on to the very bytes of an uninterrupted one."""

from __future__ import annotations

import pytest

from tastemaker.errors import (
    DamagedModel,
    FolderExists,
    ModelFolderProblem,
    SettingProblem,
    TrainingInterrupted,
)
from tastemaker.model.config import preset
from tastemaker.training.checkpoint import Checkpoints, checkpoint_beside
from tastemaker.training.train import train


def settings(name, **changes):
    return preset(name).changed({"dimensions": 8, "epochs": 6, **changes})


def arrays_of(model):
    parts = [model.product_vectors, model.product_bias, model.user_vectors]
    if model.memory is not None:
        parts += [model.memory.offsets, model.memory.products, model.memory.weights]
    return [None if part is None else part.tobytes() for part in parts]


def stop_in(epoch):
    def watch(step):
        if step.stage == "learning" and step.epoch == epoch and step.done:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize("name", ["workshop", "default"])
def test_a_resumed_training_gives_the_same_bytes(split, tmp_path, name):
    config = settings(name)
    whole = train(split.train, config, seed=3)
    kept = Checkpoints(checkpoint_beside(tmp_path / "1"), 2)
    with pytest.raises(
        TrainingInterrupted, match=r"checkpoint of epoch 4: go on with --resume .*\.1\.checkpoint"
    ):
        train(split.train, config, seed=3, checkpoints=kept, watch=stop_in(6))
    resumed = train(split.train, config, seed=3, resume=kept.folder)
    assert arrays_of(resumed) == arrays_of(whole)
    assert [(e.epoch, e.loss) for e in resumed.record.epochs] == [
        (e.epoch, e.loss) for e in whole.record.epochs
    ]
    assert resumed.record.config == whole.record.config


def test_a_checkpoint_is_refused_by_another_training(split, tmp_path):
    kept = Checkpoints(tmp_path / "state")
    train(split.train, settings("workshop", epochs=1), checkpoints=kept)
    with pytest.raises(SettingProblem, match=r"of another training, with the seed 0 and not 1"):
        train(split.train, settings("workshop", epochs=1), seed=1, resume=kept.folder)
    with pytest.raises(SettingProblem, match="epochs 1 and not 2"):
        train(split.train, settings("workshop", epochs=2), resume=kept.folder)
    with pytest.raises(SettingProblem, match="other purchases"):
        train(split.held_out, settings("workshop", epochs=1), resume=kept.folder)
    with pytest.raises(FolderExists, match="earlier training"):
        train(split.train, settings("workshop", epochs=1), checkpoints=kept)


def test_a_damaged_or_missing_checkpoint_is_one_sentence(split, tmp_path):
    config = settings("workshop", epochs=1)
    with pytest.raises(ModelFolderProblem, match="holds no checkpoint"):
        train(split.train, config, resume=tmp_path)
    kept = Checkpoints(tmp_path / "state")
    train(split.train, config, checkpoints=kept)
    array = next(kept.folder.glob("*.npy"))
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    with pytest.raises(DamagedModel, match="cannot be read"):
        train(split.train, config, resume=kept.folder)


def test_a_checkpoint_every_zero_epochs_is_refused(tmp_path):
    with pytest.raises(SettingProblem, match="at least 1 epoch"):
        Checkpoints(tmp_path, 0)
