"""The command line itself: help, version, doctor, and what starting it costs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from tastemaker.cli.doctor import PACKAGES, doctor
from tastemaker.errors import TastemakerError

COMMANDS = ["demo", "fetch", "train", "evaluate", "compare", "recommend", "similar", "doctor"]


def test_help_lists_the_commands(tastemaker):
    ran = tastemaker("--help")
    assert ran.returncode == 0
    assert all(f" {command} " in ran.stdout for command in COMMANDS)
    assert tastemaker("-h").stdout == ran.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(tastemaker, command):
    ran = tastemaker(command, "--help")
    assert ran.returncode == 0
    assert "--json" in ran.stdout
    assert ran.stderr == ""


def test_the_version_is_the_packages(tastemaker):
    ran = tastemaker("--version")
    assert (ran.returncode, ran.stdout.strip()) == (0, version("tastemaker"))


def test_the_installed_script_is_the_same_program(tastemaker):
    script = Path(sysconfig.get_path("scripts")) / "tastemaker"
    if not script.exists():
        script = shutil.which("tastemaker")
    ran = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == tastemaker("--version").stdout


def test_doctor_finds_this_machine_well(tastemaker):
    ran = tastemaker("doctor", "--json")
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)
    assert facts["kernels"] == "agree with NumPy"
    assert facts["problems"] == []
    assert facts["threads"] >= 1
    assert facts["packages"]["tastemaker"] == version("tastemaker")
    assert "All is well." in tastemaker("doctor").stdout


def test_doctor_looks_for_every_package_that_is_needed():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    needed = {
        re.match(r"[\w.-]+", line)[0]
        for line in project["dependencies"]
        if "python_version < '3.14'" not in line or sys.version_info < (3, 14)
    }
    assert set(PACKAGES) >= needed | {"tastemaker"}


def test_doctor_names_a_package_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setattr("tastemaker.cli.doctor.PACKAGES", ("tastemaker", "no-such-package"))
    with pytest.raises(TastemakerError, match="no-such-package is not installed"):
        doctor()
    assert "no-such-package MISSING" in capsys.readouterr().out


def test_help_loads_nothing_heavy(python):
    code = (
        "import sys; sys.argv = ['tastemaker', '--help']\n"
        "from tastemaker.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numba', 'polars', 'pandas', 'pyarrow', 'scipy', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = python(code)
    assert ran.stderr.strip() == "[]"
