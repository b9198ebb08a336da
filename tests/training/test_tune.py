"""The search for settings: resumable, judged on a part held out of train."""

from __future__ import annotations

import pytest

from tastemaker.data.synthetic.shop import make_shop
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import preset
from tastemaker.training.progress import nobody
from tastemaker.training.selection.choose import choose_settings
from tastemaker.training.selection.tune import tune

pytest.importorskip("optuna", reason="the search needs optuna, the extra [tune]")


def test_the_first_trial_is_the_settings_given_and_the_search_goes_on_in_its_file(tmp_path):
    log = make_shop(users=200, products=60, purchases=1500).purchases
    config = preset("default").changed({"dimensions": 8, "epochs": 2})
    with ThreadPool(1) as pool:

        def search(minutes):
            return tune(
                log, config, minutes=minutes, file=tmp_path / "trials", seed=0, pool=pool, watch=nobody
            )

        _, given = choose_settings(log, config, 0, pool=pool, watch=nobody)
        _, first = search(0)
        assert first["with_memory"] == given["with_memory"]
        assert first["tuning"]["trials"] == 1
        settled, later = search(0.02)
        assert later["tuning"]["trials"] > 1
        assert later["with_memory"] >= first["with_memory"]
        assert not settled.chooses
        again, _ = search(0)
    assert again == settled


def test_free_users_have_nothing_to_tune(tmp_path):
    log = make_shop(users=50, products=20, purchases=200).purchases
    with ThreadPool(1) as pool, pytest.raises(SettingProblem, match="--preset default"):
        tune(log, preset("workshop"), minutes=1, file=tmp_path / "t", seed=0, pool=pool, watch=nobody)
