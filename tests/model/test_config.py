"""Settings: what is refused, what is parsed, and the way to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math
import pydoc
import re

import pytest

from tastemaker.errors import SettingProblem
from tastemaker.model import settings
from tastemaker.model.config import NAMES, PARTS, PRESETS, Config, preset
from tastemaker.model.settings import MemorySettings

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
    taste = changed.taste
    assert (taste.epochs, taste.learning_rate, taste.dimensions) == (3, 100.0, 8)
    assert type(taste.epochs) is int
    assert taste == dataclasses.replace(WORKSHOP.taste, epochs=3, dimensions=8)


@pytest.mark.parametrize(("name", "text"), [("epochs", "3.5"), ("epochs", ""), ("learning_rate", "fast")])
def test_text_that_does_not_parse_is_refused_by_name(name, text):
    with pytest.raises(SettingProblem, match=f"{name} is '{text}'; it must be a(| whole) number"):
        WORKSHOP.changed({name: text})


@pytest.mark.parametrize("name", ["epoch", "preset", "__class__"])
def test_what_is_no_setting_is_refused_and_the_settings_are_listed(name):
    with pytest.raises(
        SettingProblem, match=rf"no setting '{name}'.*; the settings are .*dimensions, epochs"
    ):
        WORKSHOP.changed({name: "1"})


def test_an_unknown_preset_is_refused_and_the_presets_are_listed():
    with pytest.raises(SettingProblem, match=r"no preset 'fancy'; the presets are .*workshop"):
        preset("fancy")


@pytest.mark.parametrize("name", PRESETS)
def test_settings_go_to_json_and_back(name):
    config = preset(name)
    assert config.preset == name
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_setting_is_changed_by_its_path_by_its_short_name_by_keyword_or_with_its_part():
    wanted = MemorySettings(count_weight=4.0, damping=0.5, number_weight=None, directed_weight=None)
    default = preset("default").changed(ridge_weight=0.0, spectral_weight=0.0)
    for changed in (
        default.changed({"memory.count_weight": "4", "memory.damping": "0.5"}),
        default.changed({"count_weight": 4.0, "memory_damping": 0.5}),
        default.changed(count_weight=4.0, memory_damping=0.5),
        default.changed({"count_weight": 4.0}, memory={"damping": "0.5"}),
        default.changed(memory=wanted),
    ):
        assert changed == dataclasses.replace(default, memory=wanted)


def test_every_setting_has_a_short_name_by_which_it_is_changed_and_read():
    assert (
        len(set(NAMES.values()))
        == len(NAMES)
        == sum(len(dataclasses.fields(part)) for part in PARTS.values())
    )
    for path, name in NAMES.items():
        part, _, key = path.partition(".")
        value = getattr(getattr(WORKSHOP, part), key)
        assert getattr(WORKSHOP, name) == value
        assert WORKSHOP.to_json()[name] == value
        assert WORKSHOP.changed({path: value}) == WORKSHOP.changed({name: value}) == WORKSHOP


def test_settings_show_themselves_as_the_python_that_makes_them():
    changed = preset("default", effort="quick").changed({"memory.count_weight": 4, "epochs": 16})
    assert repr(changed) == (
        "preset('default', effort='quick').changed({'taste.epochs': 16, 'memory.count_weight': 4})"
    )
    assert repr(preset("workshop")) == "preset('workshop')"
    own = Config(taste=WORKSHOP.taste, memory=MemorySettings(partners=50))
    for made in (changed, preset("workshop").changed(epochs=3), own):
        assert eval(repr(made), {**vars(settings), "Config": Config, "preset": preset}) == made


def test_help_explains_every_setting():
    """Each part says ``NAME``, and below it what the setting does."""
    text = pydoc.plain(pydoc.render_doc(Config))
    for part, kind in PARTS.items():
        assert f"`{part}.NAME`" in text
        for field in dataclasses.fields(kind):
            assert re.search(rf"^ \|  {field.name}\n \|      \S.{{20,}}", text, re.MULTILINE), field.name


def test_a_part_that_is_no_mapping_is_refused():
    with pytest.raises(
        SettingProblem, match="memory is 4; memory is a part of the settings: give one of its"
    ):
        preset("default").changed(memory=4)
    with pytest.raises(
        SettingProblem,
        match=r"no setting 'memory.count' \(perhaps 'memory.count_power'\?\); the settings are taste: .*; memory: ",
    ):
        preset("default").changed(memory={"count": 4})


def test_a_name_that_is_no_setting_is_no_attribute():
    with pytest.raises(AttributeError, match="a Config has no setting 'epoch'"):
        _ = WORKSHOP.epoch


@pytest.mark.parametrize("name", ["epochs", "count_weight", "repeat_level"])
def test_free_users_choose_nothing(name):
    with pytest.raises(SettingProblem, match="a model of free users"):
        WORKSHOP.changed({name: "auto"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("memory_damping", "memory.damping"),
        ("repeat_sales", "repeats.sales"),
        ("trend_weight", "trend.weight"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_the_path_of_its_setting(name, said):
    with pytest.raises(SettingProblem, match=f"{said} is -1.0; it must be a finite number, 0 or more"):
        preset("default").changed({name: -1.0})
