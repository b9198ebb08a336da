"""The same work on a Ray of two nodes, all of it on 127.0.0.1: equal bytes, lost workers, a lost node, a lost head."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
    "0"  # with it, nodes take the address 127.0.0.1; read at import
)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray ends a process that has had no head for so many seconds
os.environ |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
# a head starts a process for each client and refuses it if that process is not there in 30 seconds; it leaves after 30 without one
os.environ |= dict.fromkeys(
    ("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "TIMEOUT_FOR_SPECIFIC_SERVER_S"), "600"
)
ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'tastemaker[ray]')")

from odd_workers import Deadly, Task, check_same_model, hang_on_doomed_host, refuse, square_or_be_killed  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

import tastemaker as tm  # noqa: E402
from tastemaker.errors import SettingProblem, UnknownId, WorkersLost  # noqa: E402
from tastemaker.evaluation.evaluate import evaluate_ranked  # noqa: E402
from tastemaker.nights.run import run_night  # noqa: E402
from tastemaker.nights.shop_file import read_shop_file  # noqa: E402
from tastemaker.ranking.export.blocks import rank_blocks  # noqa: E402
from tastemaker.ranking.export.parts import ListJob, write_parts  # noqa: E402
from tastemaker.ranking.index.index_folder import build_index, index_folder  # noqa: E402
from tastemaker.scale import on_ray  # noqa: E402
from tastemaker.scale.executor import Tally  # noqa: E402
from tastemaker.scale.local import ThisProcess  # noqa: E402
from tastemaker.scale.where import executor_of  # noqa: E402
from tastemaker.training.memory import blocks  # noqa: E402
from tastemaker.training.sharded.crew import Crew  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def client_port():
    """A port of 127.0.0.1 at which the head listens for clients: none that Ray or the system hands out meanwhile."""
    for port in random.sample(range(24_000, 32_000), 100):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")


@pytest.fixture(scope="module")
def cluster(client_port):
    """Two nodes of one processor each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        node = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
        head = node | {"ray_client_server_port": client_port}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def listening_elsewhere():
    """Return the addresses other than loopback on which processes of Ray listen."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and not fields[1].startswith(
                ("0100007F:", "0000000000000000FFFF00000100007F:")
            ):
                ports.add(fields[9])
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
            sockets = {os.readlink(one) for one in (process / "fd").iterdir()}
        except OSError:
            continue
        if "ray" in command.split("\0")[0] and sockets & {f"socket:[{inode}]" for inode in ports}:
            found.append(command)
    return found


# One world, in order: what is lost stays lost.


def test_ray_writes_the_bytes_that_this_process_writes(cluster, model_folder, tmp_path):
    for what in ("users", "products"):
        job = ListJob(str(model_folder), what, 5, lines_a_part=250)
        for name, executor in (("here", ThisProcess()), ("ray", executor_of("ray"))):
            written = write_parts(job, tmp_path / f"{what}-{name}", executor)
        here, there = ({file.name: file.read_bytes() for file in (tmp_path / f"{what}-{name}").iterdir()}
                       for name in ("here", "ray"))  # fmt: skip
        assert here == there
        assert sum(written.tally.workers.values()) == {"users": 8, "products": 3}[what]
    assert listening_elsewhere() == []


def test_ray_measures_what_this_process_measures(cluster, model_folder, split):
    model = tm.load(model_folder)
    rank = partial(rank_blocks, folder=model_folder, executor=executor_of("ray"))
    found = evaluate_ranked(model, split.held_out, rank, at=(10,))
    assert found.to_json() == tm.evaluate(model, split.held_out, at=10).to_json()


def test_ray_builds_the_index_that_this_process_builds(cluster, model_folder, tmp_path):
    pytest.importorskip("faiss", reason="the extra `index` is not installed")
    found = []
    for name in ("local", "ray"):
        folder = shutil.copytree(model_folder, tmp_path / name / "1")
        facts = build_index(folder, executor=executor_of(name))
        found.append(((index_folder(folder) / "index.faiss").read_bytes(), facts["recall"]))
    assert found[0] == found[1]


def test_ray_learns_the_bytes_that_this_process_learns(cluster, split, tmp_path):
    log, settings = replace(split.train, times=None), {"epochs": 1, "dimensions": 8, "shards": 3}
    crew = Crew(executor_of("ray"), tmp_path / "work")
    here, there = (
        tm.train(log, progress=False, effort="quick", workers=workers, **settings) for workers in (None, crew)
    )
    assert here.product_vectors.tobytes() == there.product_vectors.tobytes()
    assert sum(crew.tally.workers.values()) >= 16 * 2 * 3


def test_the_share_of_a_worker_killed_at_half_of_a_training_is_learned_again_to_the_same_bytes(
    cluster, split, tmp_path, monkeypatch
):
    monkeypatch.setattr(blocks, "PRODUCTS_AT_ONCE", 100)
    log, settings = replace(split.train, times=None), {"epochs": 2, "dimensions": 8, "shards": 2}
    crew = Crew(Deadly(executor_of("ray"), str(tmp_path)), tmp_path / "work")
    here, there = (
        tm.train(log, progress=False, effort="quick", workers=workers, **settings) for workers in (None, crew)
    )
    assert here.product_vectors.tobytes() == there.product_vectors.tobytes()
    assert here.product_bias.tobytes() == there.product_bias.tobytes()
    assert here.memory.weights.tobytes() == there.memory.weights.tobytes()
    assert {"killed-1", "killed-2", "killed-common"} <= {mark.name for mark in tmp_path.glob("killed-*")}
    assert crew.tally.lost >= len(list(tmp_path.glob("killed-*")))


def test_train_on_a_cluster_elsewhere_writes_the_model_of_one_process(
    cluster, client_port, tastemaker, split, tmp_path
):
    log = tmp_path / "log.parquet"
    split.train.to_frame().select("user_id", "product_id").write_parquet(log)
    flags = ("--effort", "quick", "--epochs", 1, "--dimensions", 8, "--set", "taste.shards=2")
    for name, more in (("here", ()), ("there", ("--on", f"ray://127.0.0.1:{client_port}"))):
        ran = tastemaker("train", log, "--out", tmp_path / name, *flags, *more)
        assert ran.returncode == 0, ran.stderr
    assert "Of the learning: " in ran.stderr
    assert not (tmp_path / ".there.work").exists()
    check_same_model(tmp_path)


def test_a_night_on_ray_publishes_the_version_and_lists_of_this_process(cluster, tmp_path):
    sales = tm.make_shop(users=200, products=60, purchases=2_000, seed=4).purchases.to_frame()
    found = []
    for workers in ("local", "ray"):
        folder = tmp_path / workers
        folder.mkdir()
        sales.write_parquet(folder / "log.parquet")
        (folder / "shop.toml").write_text(
            f'[log]\nfrom = "log.parquet"\n[learn]\nworkers = "{workers}"\neffort = "quick"\n'
            'settings = { dimensions = 8, epochs = 1, shards = 2 }\n[lists]\nusers = "lists.parquet"\n'
        )
        told = []
        run = run_night(read_shop_file(folder / "shop.toml"), say=told.append)
        found.append((run.outcome, run.receipt, (folder / "lists.parquet").read_bytes()))
        assert any(" did " in line for line in told) == (workers == "ray")
    assert found[0] == found[1]
    assert found[0][0] == "published"


def test_the_task_of_a_killed_worker_is_done_again_by_another(cluster, tmp_path):
    tally = Tally()
    tasks = [Task(number, str(tmp_path), killed=int(number == 3)) for number in range(6)]
    assert executor_of("ray").run(square_or_be_killed, tasks, on_done=tally) == [0, 1, 4, 9, 16, 25]
    assert tally.lost >= 1  # more, when Ray sends the next task to a worker that has just ended
    assert len(tally.workers) >= 2


def test_a_task_that_ends_every_worker_and_an_error_of_ours_end_the_work(cluster, tmp_path):
    with pytest.raises(WorkersLost, match="part 1 of 1 was begun 3 times"):
        executor_of("ray").run(square_or_be_killed, [Task(0, str(tmp_path), killed=9)])
    with pytest.raises(UnknownId, match="task 5 is unknown"):
        executor_of("ray").run(refuse, [Task(5)])


def test_the_tasks_of_a_lost_host_are_done_again_by_another(cluster, tmp_path):
    host = next(iter(cluster.worker_nodes))
    (tmp_path / host.node_id).touch()

    def lose_host():
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        cluster.remove_node(host, allow_graceful=False)

    loser = Thread(target=lose_host, daemon=True)
    loser.start()
    tally = Tally()
    tasks = [Task(number, str(tmp_path)) for number in range(5)]
    assert executor_of("ray").run(hang_on_doomed_host, tasks, on_done=tally) == [0, 1, 4, 9, 16]
    loser.join(20)
    assert tally.lost >= 1


def test_a_lost_head_is_one_clear_error_while_a_task_runs(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "LOOK_EVERY", 0.2)

    def lose_head():
        while not list(tmp_path.iterdir()):
            time.sleep(0.02)
        cluster.head_node.kill_gcs_server()

    Thread(target=lose_head, daemon=True).start()
    lost = r"the head of the Ray cluster at 127\.0\.0\.1:\d+ was lost after 0 of 1 parts"
    with pytest.raises(WorkersLost, match=lost):
        executor_of("ray").run(square_or_be_killed, [Task(0, str(tmp_path), seconds=600)])


def test_a_cluster_that_does_not_answer_is_one_clear_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(SettingProblem, match=rf"no Ray answers at ray://127\.0\.0\.1:{port}"):
        executor_of(f"ray://127.0.0.1:{port}").run(refuse, [Task(1)])
