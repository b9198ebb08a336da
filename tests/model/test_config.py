"""Settings: what is refused, what is parsed, and the way to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from tastemaker.errors import SettingProblem
from tastemaker.model.config import PRESETS, Config, preset

WORKSHOP = preset("workshop")


@pytest.mark.parametrize("name", ["dimensions", "epochs", "negatives", "batch"])
@pytest.mark.parametrize("value", [0, -3])
def test_counts_below_one_are_refused(name, value):
    with pytest.raises(SettingProblem, match=f"{name} is {value}; it must be at least 1"):
        WORKSHOP.changed({name: value})


@pytest.mark.parametrize("name", ["learning_rate", "initial_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "nan", "-inf"])
def test_steps_and_scales_that_are_no_positive_number_are_refused(name, value):
    with pytest.raises(SettingProblem, match=f"{name} is .*; it must be a finite number above 0"):
        WORKSHOP.changed({name: value})


def test_text_is_parsed_to_the_settings_own_type():
    changed = WORKSHOP.changed({"epochs": "3", "learning_rate": "1e2", "dimensions": "8"})
    assert (changed.epochs, changed.learning_rate, changed.dimensions) == (3, 100.0, 8)
    assert type(changed.epochs) is int
    assert changed == dataclasses.replace(WORKSHOP, epochs=3, dimensions=8)


@pytest.mark.parametrize(("name", "text"), [("epochs", "3.5"), ("epochs", ""), ("learning_rate", "fast")])
def test_text_that_does_not_parse_is_refused_by_name(name, text):
    with pytest.raises(SettingProblem, match=f"{name} is '{text}'; it must be a(| whole) number"):
        WORKSHOP.changed({name: text})


@pytest.mark.parametrize("name", ["epoch", "preset", "__class__"])
def test_what_is_no_setting_is_refused_and_the_settings_are_listed(name):
    with pytest.raises(SettingProblem, match=rf"no setting '{name}'; the settings are .*dimensions, epochs"):
        WORKSHOP.changed({name: "1"})


def test_an_unknown_preset_is_refused_and_the_presets_are_listed():
    with pytest.raises(SettingProblem, match=r"no preset 'fancy'; the presets are .*workshop"):
        preset("fancy")


@pytest.mark.parametrize("name", PRESETS)
def test_settings_go_to_json_and_back(name):
    config = preset(name)
    assert config.preset == name
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
