"""The examples that run every night: each starts the command that there is, and the checkers of such files find nothing."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy" / "nights"
RUN = ["run", "shop.toml"]


def is_run(words):
    """Whether words end in `tastemaker run …/shop.toml`."""
    return [words[-2], Path(words[-1]).name] == RUN


def test_the_unit_runs_one_night():
    unit = (DEPLOY / "tastemaker-nights.service").read_text()
    assert is_run(shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]))
    assert "Type=oneshot" in unit
    assert "[Install]" not in unit  # the timer is what is enabled


@pytest.mark.parametrize("name", ["tastemaker-nights.service", "tastemaker-nights.timer"])
def test_systemd_finds_nothing_wrong(name):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    ran = subprocess.run([program, "verify", DEPLOY / name], capture_output=True, text=True, check=False)
    complaints = [line for line in ran.stderr.splitlines() if "tastemaker-nights" in line]
    assert [line for line in complaints if "is not executable" not in line] == []  # it is not installed here


def test_systemd_knows_when_the_nights_are():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    when = re.search(r"^OnCalendar=(.*)$", (DEPLOY / "tastemaker-nights.timer").read_text(), re.MULTILINE)[1]
    assert subprocess.run([program, "calendar", when], capture_output=True, check=False).returncode == 0


def test_the_crontab_has_five_fields_and_tells_of_a_night_that_did_not_end_well(tmp_path):
    lines = [line for line in (DEPLOY / "crontab").read_text().splitlines() if line and line[0] != "#"]
    (line,) = [line for line in lines if not re.match(r"[A-Z]+=", line)]
    fields = line.split(None, 5)
    assert all(re.fullmatch(r"\*|\d+", field) for field in fields[:5])
    assert "%" not in fields[5]  # which cron takes for a new line
    assert "tastemaker run /var/lib/tastemaker/shop.toml 2>" in fields[5]
    for code, told in ((0, ""), (1, "trouble\n"), (3, "trouble\n")):
        (tmp_path / "tastemaker").write_text(f"#!/bin/sh\necho trouble >&2\nexit {code}\n")
        (tmp_path / "tastemaker").chmod(0o755)
        command = (
            fields[5]
            .replace("/opt/tastemaker/bin", str(tmp_path))
            .replace("/var/lib/tastemaker", str(tmp_path))
        )
        command = command.replace("/etc/tastemaker/nights.env", "/dev/null")
        ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert ran.stdout == told  # what cron sends in a letter


def test_the_cron_job_of_kubernetes_is_whole_and_does_not_repeat_a_stopped_night():
    every = yaml.safe_load_all((DEPLOY.parent / "kubernetes.yaml").read_text())
    (job,) = [one for one in every if one["kind"] == "CronJob"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert len(job["spec"]["schedule"].split()) == 5
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    spec = job["spec"]["jobTemplate"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert is_run(container["args"])
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [3])
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert pod["restartPolicy"] == "Never"  # what a pod failure policy needs
    dockerfile = (DEPLOY.parent / "Dockerfile").read_text()
    assert f"USER {pod['securityContext']['runAsUser']}" in dockerfile
    assert "/var/cache/tastemaker" in {mount["mountPath"] for mount in container["volumeMounts"]}


class Failed(Exception):
    """What Airflow does not try again."""


@pytest.fixture
def airflow(monkeypatch):
    """As much of Airflow as the example uses; its tasks are the functions themselves."""
    tasks, dags = {}, {}

    def decorator(found):
        def wrap(**options):
            def of(function):
                def call():
                    found[function.__name__] = (options, function)
                    if found is dags:
                        function()

                return call

            return of

        return wrap

    sdk = types.ModuleType("airflow.sdk")
    sdk.dag, sdk.task = decorator(dags), decorator(tasks)
    exceptions = types.ModuleType("airflow.exceptions")
    exceptions.AirflowFailException = Failed
    package = types.ModuleType("airflow")
    for name, module in (("airflow", package), ("airflow.sdk", sdk), ("airflow.exceptions", exceptions)):
        monkeypatch.setitem(sys.modules, name, module)
    return tasks, dags


@pytest.mark.parametrize(("code", "raises"), [(0, None), (1, RuntimeError), (3, Failed)])
def test_the_dag_has_one_task_which_tries_a_failed_night_again_and_a_stopped_one_not(
    airflow, monkeypatch, code, raises
):
    tasks, dags = airflow
    runpy.run_path(str(DEPLOY / "airflow_dag.py"))
    (dag, _) = dags["tastemaker_nights"]
    assert (dag["catchup"], dag["max_active_runs"], len(tasks)) == (False, 1, 1)
    options, night = tasks["night"]
    assert options["retries"] == 2
    ran = []
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **_: ran.append(command) or subprocess.CompletedProcess(command, code),
    )
    if raises is None:
        night()
    else:
        with pytest.raises(raises):
            night()
    assert is_run(ran[0])
