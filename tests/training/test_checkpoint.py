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
from tastemaker.training.train import Recovery, train


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
        TrainingInterrupted,
        match=r"checkpoint of epoch 4: go on with recovery=Recovery\(resume='.*\.1\.checkpoint",
    ):
        train(split.train, config, seed=3, recovery=Recovery(checkpoints=kept), progress=stop_in(6))
    resumed = train(split.train, config, seed=3, recovery=Recovery(resume=kept.folder))
    assert arrays_of(resumed) == arrays_of(whole)
    assert [(e.epoch, e.loss) for e in resumed.record.epochs] == [
        (e.epoch, e.loss) for e in whole.record.epochs
    ]
    assert resumed.record.config == whole.record.config


def test_a_checkpoint_is_refused_by_another_training(split, tmp_path):
    kept = Checkpoints(tmp_path / "state")
    train(split.train, settings("workshop", epochs=1), recovery=Recovery(checkpoints=kept))
    with pytest.raises(SettingProblem, match=r"of another training, with the seed 0 and not 1"):
        train(split.train, settings("workshop", epochs=1), seed=1, recovery=Recovery(resume=kept.folder))
    with pytest.raises(SettingProblem, match="epochs 1 and not 2"):
        train(split.train, settings("workshop", epochs=2), recovery=Recovery(resume=kept.folder))
    with pytest.raises(SettingProblem, match="other purchases"):
        train(split.held_out, settings("workshop", epochs=1), recovery=Recovery(resume=kept.folder))
    with pytest.raises(FolderExists, match="earlier training"):
        train(split.train, settings("workshop", epochs=1), recovery=Recovery(checkpoints=kept))


def test_a_damaged_or_missing_checkpoint_is_one_sentence(split, tmp_path):
    config = settings("workshop", epochs=1)
    with pytest.raises(ModelFolderProblem, match="holds no checkpoint"):
        train(split.train, config, recovery=Recovery(resume=tmp_path))
    kept = Checkpoints(tmp_path / "state")
    train(split.train, config, recovery=Recovery(checkpoints=kept))
    array = next(kept.folder.glob("*.npy"))
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    with pytest.raises(DamagedModel, match="cannot be read"):
        train(split.train, config, recovery=Recovery(resume=kept.folder))


def test_a_checkpoint_every_zero_epochs_is_refused(tmp_path):
    with pytest.raises(SettingProblem, match="at least 1 epoch"):
        Checkpoints(tmp_path, 0)


def interrupted(log, config, folder, *, epoch, every=1, resume=None):
    with pytest.raises(TrainingInterrupted):
        train(
            log,
            config,
            seed=3,
            recovery=Recovery(checkpoints=Checkpoints(folder, every), resume=resume),
            progress=stop_in(epoch),
        )


def test_a_training_may_be_interrupted_again_and_again(split, tmp_path):
    config = settings("default", members=3)
    interrupted(split.train, config, tmp_path, epoch=2)
    interrupted(split.train, config, tmp_path, epoch=3, resume=tmp_path)
    interrupted(split.train, config, tmp_path, epoch=6, resume=tmp_path)
    resumed = train(split.train, config, seed=3, recovery=Recovery(resume=tmp_path), threads=1)
    assert arrays_of(resumed) == arrays_of(train(split.train, config, seed=3))


def test_settings_that_chose_themselves_are_not_chosen_again(split, tmp_path):
    config = preset("default").changed({"dimensions": 8, "horizon": 6})
    whole = train(split.train, config, seed=3)
    interrupted(split.train, config, tmp_path, epoch=2)
    stages = set()
    resumed = train(
        split.train,
        config,
        seed=3,
        recovery=Recovery(resume=tmp_path),
        progress=lambda step: stages.add(step.stage),
    )
    assert stages == {"learning"}
    assert resumed.record.config == whole.record.config
    assert resumed.record.metrics == whole.record.metrics
    assert arrays_of(resumed) == arrays_of(whole)


def test_one_checkpoint_is_kept_and_it_is_no_model(split, tmp_path):
    interrupted(split.train, settings("workshop"), tmp_path / "c", epoch=5, every=2)
    names = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert names == ["checkpoint.json", "product_vectors-4.npy", "user_vectors-4.npy"]
    assert not checkpoint_beside(tmp_path / "recommender" / "1").name.isdigit()


def test_a_writer_that_dies_leaves_the_checkpoint_before_it(split, tmp_path, monkeypatch):
    config = settings("workshop")
    interrupted(split.train, config, tmp_path, epoch=2)

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tastemaker.training.checkpoint.replace_bytes", die)
    with pytest.raises(TrainingInterrupted):
        train(
            split.train, config, seed=3, recovery=Recovery(checkpoints=Checkpoints(tmp_path), resume=tmp_path)
        )
    monkeypatch.undo()
    resumed = train(
        split.train, config, seed=3, recovery=Recovery(checkpoints=Checkpoints(tmp_path), resume=tmp_path)
    )
    assert arrays_of(resumed) == arrays_of(train(split.train, config, seed=3))


def test_what_is_measured_belongs_to_the_training(split, tmp_path):
    config = settings("workshop")
    interrupted(split.train, config, tmp_path, epoch=2)
    with pytest.raises(SettingProblem, match="with no held-out purchases"):
        train(split.train, config, seed=3, valid=split.held_out, recovery=Recovery(resume=tmp_path))
