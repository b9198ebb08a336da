"""Rules, keys and labels that several writers change at once: nothing torn, nothing lost, nobody told of another's change."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_worlds import api_world
from serving_worlds import client_of, product_id

from tastemaker.errors import SettingProblem
from tastemaker.ranking.rules.rules import read_rules
from tastemaker.serving.front.api_keys import new_key, read_keys, remove_key

RULES = "/api/v1/rules"


@pytest.fixture
def world(tmp_path):
    return api_world(tmp_path)


@pytest.fixture
def api(world):
    settings = world.settings
    with client_of(
        settings.models, catalogue=settings.catalogue, keys=settings.keys, poll_seconds=60
    ) as client:
        client.headers.update(world.headers)
        yield client


def test_every_put_answers_with_its_own_rules_and_the_file_is_never_torn(api, world):
    file = world.folder / "models" / "recommender" / "rules.json"

    def put(number):
        mine = {"deny": [product_id(row) for row in range(number + 1)]}
        answer = api.put(RULES, json=mine)
        read_rules(file)
        return answer.status_code, answer.json().get("rules"), mine

    with ThreadPoolExecutor(6) as pool:
        for status, answered, mine in pool.map(put, [number % 9 for number in range(90)]):
            assert (status, answered) == (200, mine)
    assert sorted(path.name for path in file.parent.iterdir()) == [
        ".rules.history.json.good",
        ".rules.history.json.lock",
        ".rules.json.good",
        ".rules.json.lock",
        "1",
        "rules.history.json",
        "rules.json",
    ]


def test_of_writers_with_one_etag_one_wins(api):
    for turn in range(12):
        etag = api.get(RULES).headers["etag"]

        def put(number, turn=turn, etag=etag):
            rules = {"deny": [product_id(4 * (turn % 2) + number)]}
            return api.put(RULES, json=rules, headers={"If-Match": etag}).status_code

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(put, range(4))) == [200, 412, 412, 412]


def test_rules_that_no_file_can_hold_are_refused_and_the_former_stay(api):
    assert api.put(RULES, json={"deny": [product_id(1)]}).status_code == 200
    for rules in (b'{"deny":["\\ud800"]}', b'{"where":{"brand":"\\ud800"}}'):
        answer = api.put(RULES, content=rules, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500
    assert api.get(RULES).json()["rules"] == {"deny": [product_id(1)]}


def test_every_key_that_is_printed_is_in_the_file(tmp_path):
    file = tmp_path / "keys.json"
    command = [sys.executable, "-m", "tastemaker", "key", "new", "--keys", str(file)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(4)]
    texts = [run.communicate(timeout=120)[0].decode().strip() for run in runs]
    keys = read_keys(file)
    assert len(keys.keys) == 4
    assert all(keys.find(text) for text in texts)


def test_keys_that_are_made_and_removed_at_once_are_all_made_and_removed(tmp_path):
    file = tmp_path / "keys.json"
    old = [new_key(file, "read")[0].name for _ in range(8)]

    def change(number):
        if number % 2:
            return remove_key(file, old[number // 2])
        return new_key(file, "admin")[0].name

    with ThreadPoolExecutor(8) as pool:
        made = {name for name in pool.map(change, range(16)) if name}
    assert {key.name for key in read_keys(file).keys} == made
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_of_keys_is_never_written_over(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"something": "else"}))
    with pytest.raises(SettingProblem, match="is not a keys file"):
        new_key(file, "read")
    assert json.loads(file.read_text()) == {"something": "else"}
