"""Work in this process and in several: results in order, lost workers, errors, words for where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from odd_workers import Task, refuse, square, square_or_be_killed

from tastemaker.errors import SettingProblem, UnknownId, WorkersLost
from tastemaker.scale.executor import Tally
from tastemaker.scale.local import Processes, ThisProcess
from tastemaker.scale.on_ray import OnRay
from tastemaker.scale.where import executor_of

TASKS = [Task(number) for number in range(7)]
SQUARES = [0, 1, 4, 9, 16, 25, 36]


def test_a_word_says_where_work_is_done():
    assert executor_of("local", 3) == ThisProcess(3)
    assert executor_of("local:4") == Processes(4)
    assert executor_of("ray") == OnRay(None)
    assert executor_of("ray://head:10001") == OnRay("ray://head:10001")


@pytest.mark.parametrize("word", ["", "local:0", "local:x", "dask", "ray:/head", "ray://a b", "LOCAL"])
def test_another_word_is_refused_by_name(word):
    with pytest.raises(SettingProblem, match=r"ray://HOST:PORT") as refused:
        executor_of(word)
    assert repr(word) in str(refused.value)


def test_a_killed_process_is_replaced_and_its_task_done_again(tmp_path):
    tally = Tally()
    tasks = [Task(number, str(tmp_path), killed=int(number == 3)) for number in range(7)]
    assert Processes(2).run(square_or_be_killed, tasks, on_done=tally) == SQUARES
    assert 1 <= tally.lost <= 2  # what its neighbour had at work is begun again, too
    assert sum(tally.workers.values()) == 7
    assert len(tally.workers) >= 2


def test_a_task_that_ends_every_process_ends_the_work_with_its_number(tmp_path):
    with pytest.raises(WorkersLost, match=r"part 1 of 2 was begun 3 times"):
        Processes(1).run(square_or_be_killed, [Task(0, str(tmp_path), killed=9), Task(1, str(tmp_path))])
    assert len(list(tmp_path.glob("0-*"))) == 3


@pytest.mark.parametrize("executor", [ThisProcess(), Processes(2)], ids=["here", "processes"])
def test_results_stand_in_the_order_of_tasks_and_errors_come_as_they_are(executor):
    assert executor.run(square, TASKS) == SQUARES
    assert executor.run(square, []) == []
    with pytest.raises(UnknownId, match="is unknown") as refused:
        executor.run(refuse, TASKS)
    assert len(refused.value.ids) == 1


PARENT = """
import sys
from odd_workers import Task, square_or_be_killed
from tastemaker.scale.local import Processes
if __name__ == "__main__":
    Processes(2).run(square_or_be_killed, [Task(n, sys.argv[1], seconds=60) for n in range(2)])
"""


@pytest.mark.parametrize("ended", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path, ended):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    (tmp_path / "begun").mkdir()
    parent = subprocess.Popen([sys.executable, script, tmp_path / "begun"], env=environment)
    while len(begun := list((tmp_path / "begun").iterdir())) < 2:
        time.sleep(0.02)
    parent.send_signal(ended)
    parent.wait(30)
    workers = [int(path.name.split("-")[1]) for path in begun]
    end = time.monotonic() + 30
    while (
        alive := [worker for worker in workers if Path("/proc", str(worker)).exists()]
    ) and time.monotonic() < end:
        time.sleep(0.02)
    assert alive == []
