"""The files of a Ray cluster: one for Kubernetes, one for three plain hosts."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ROOT / "deploy" / "ray"


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((FILES / "raycluster.yaml").read_text())}


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]


def test_all_but_the_operators_own_kind_are_objects_of_kubernetes(objects):
    cluster = objects.pop("RayCluster")
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"} | group["template"]["metadata"]}
        | {"spec": group["template"]["spec"]}
        for group in groups(cluster)
    ]
    for one in [*objects.values(), *pods]:
        kubernetes_validate.validate(one, "1.31", strict=True)
    spoilt = json.loads(json.dumps(pods[0]).replace("volumeMounts", "volumeMuonts"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, "1.31", strict=True)
    objects["RayCluster"] = cluster


def test_the_cluster_has_the_fields_of_kuberay_and_no_others(objects):
    cluster = objects["RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    assert cluster["spec"].keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    head, *workers = groups(cluster)
    assert head.keys() == {"rayStartParams", "template"}
    for group in workers:
        counts = {"replicas", "minReplicas", "maxReplicas"}
        assert group.keys() == {"groupName", "rayStartParams", "template"} | counts
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (head, *workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # flags of ray start


def test_pods_see_one_folder_hold_no_rights_and_only_reach_each_other(objects):
    label = {"app.kubernetes.io/name": "tastemaker-ray"}
    claim = objects["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == label
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": label}}]}]
    for group in groups(objects["RayCluster"]):
        assert group["template"]["metadata"]["labels"] == label
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["shop"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
            assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


def test_the_file_of_three_hosts_is_one_of_rays_schema(tmp_path):
    found = find_spec("ray")
    if found is None or found.origin is None:
        pytest.skip("Ray is not installed (pip install 'tastemaker[ray]')")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(found.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    hosts = yaml.safe_load((FILES / "hosts.yaml").read_text())
    jsonschema.validate(hosts, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"cluster_nmae": "x"} | hosts, schema)
    provider = hosts["provider"]
    assert len({provider["head_ip"], *provider["worker_ips"]}) == 3
    head = hosts["head_start_ray_commands"][1]
    assert f"--node-ip-address={provider['head_ip']} " in head
    assert "RAY_USAGE_STATS_ENABLED=0" in head


def test_the_version_of_ray_is_one_that_the_extra_allows(objects):
    named = objects["RayCluster"]["spec"]["rayVersion"]
    least = re.search(r'ray\[client\]>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert tuple(map(int, named.split("."))) >= tuple(map(int, least.split(".")))
    try:
        assert named.split(".")[0] == version("ray").split(".")[0]
    except PackageNotFoundError:
        pytest.skip("Ray is not installed (pip install 'tastemaker[ray]')")
