"""The files in cluster/: the same Ray version everywhere, no secrets, and the fields that the CRDs require."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.cli import VERBS

CLUSTER = Path(__file__).parents[1] / "cluster"
FILES = sorted(path for path in CLUSTER.iterdir() if path.is_file())
MANIFESTS = sorted(CLUSTER.glob("*.yaml"))
RAY = re.search(r"^ray==([\d.]+)$", (CLUSTER.parent / "constraints.txt").read_text(), re.M)


def documents(path: Path) -> list[dict[str, Any]]:
    """Every document of a file, including those inside a ConfigMap."""
    result = list(yaml.safe_load_all(path.read_text()))
    for document in list(result):
        if document.get("kind") == "ConfigMap":
            result += [yaml.safe_load(text) for name, text in document["data"].items() if name.endswith(".yaml")]
    return result


def values(node: Any, key: str) -> Iterator[Any]:
    """Every value of `key`, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from values(item, key)


def check_pod(template: dict[str, Any]) -> None:
    containers = template["spec"]["containers"]
    assert containers and all(c["name"] and c["image"] for c in containers)
    for container in containers:
        limits = container["resources"]["limits"]
        assert limits["memory"] and container["resources"]["requests"] == limits  # Ray schedules by its limits
        assert container["envFrom"] == [{"secretRef": {"name": "asid-s3"}}]


def check_cluster(spec: dict[str, Any]) -> None:
    assert RAY and spec["rayVersion"] == RAY.group(1)
    head = spec["headGroupSpec"]
    assert all(isinstance(value, str) for value in head["rayStartParams"].values())
    check_pod(head["template"])
    names = [group["groupName"] for group in spec["workerGroupSpecs"]]
    assert names and len(set(names)) == len(names)
    for group in spec["workerGroupSpecs"]:
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert isinstance(group["rayStartParams"], dict)
        check_pod(group["template"])
        gpus = group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
        assert (gpus is not None) == (group["groupName"] == "gpu")


def check_ray_job(spec: dict[str, Any]) -> None:
    program, verb, *_ = spec["entrypoint"].split()
    assert program == "asid" and verb in (*VERBS, "train") and "--ray-address auto" in spec["entrypoint"]
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
    assert spec["shutdownAfterJobFinishes"] is True and spec["ttlSecondsAfterFinished"] >= 0
    check_cluster(spec["rayClusterSpec"])


def check_cron_job(spec: dict[str, Any]) -> None:
    assert len(spec["schedule"].split()) == 5 and spec["concurrencyPolicy"] == "Forbid"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] in ("Never", "OnFailure") and pod["serviceAccountName"] == "asid-reindex"
    script = pod["containers"][0]["args"][0]
    assert script.index("kubectl create") < script.index("SUCCEEDED") and "exit 1" in script


def check_ray_cron_job(spec: dict[str, Any]) -> None:
    assert set(spec) == {"schedule", "jobTemplate"} and len(spec["schedule"].split()) == 5
    check_ray_job(spec["jobTemplate"])


CHECKS = {
    ("ray.io/v1", "RayCluster"): check_cluster,
    ("ray.io/v1", "RayJob"): check_ray_job,
    ("ray.io/v1", "RayCronJob"): check_ray_cron_job,
    ("batch/v1", "CronJob"): check_cron_job,
    ("v1", "ServiceAccount"): None,
    ("v1", "ConfigMap"): None,
    ("rbac.authorization.k8s.io/v1", "Role"): None,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): None,
}


@pytest.mark.parametrize("path", [p for p in MANIFESTS if p.name != "ray-autoscaler.yaml"], ids=lambda p: p.name)
def test_a_manifest_has_what_its_kind_requires(path: Path) -> None:
    for document in documents(path):
        metadata = document["metadata"]
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9-])?", metadata.get("name") or metadata["generateName"])
        check = CHECKS[document["apiVersion"], document["kind"]]
        if check is not None:
            check(document["spec"])


def test_every_documented_kind_has_a_manifest() -> None:
    kinds = {document.get("kind") for path in MANIFESTS for document in documents(path)}
    assert kinds >= {"RayCluster", "RayJob", "RayCronJob", "CronJob"}


def test_the_autoscaler_names_its_head_and_counts_its_machines() -> None:
    (config,) = documents(CLUSTER / "ray-autoscaler.yaml")
    types = config["available_node_types"]
    assert config["head_node_type"] in types and config["provider"]["type"] == "aws"
    assert all("InstanceType" in kind["node_config"] for kind in types.values())
    assert config["max_workers"] == sum(kind.get("max_workers", 0) for kind in types.values())


def test_the_ray_version_is_the_same_everywhere() -> None:
    assert RAY is not None
    base = re.search(r"^FROM rayproject/ray:([\d.]+)-py311-\$\{VARIANT\}$", (CLUSTER / "Dockerfile").read_text(), re.M)
    assert base and base.group(1) == RAY.group(1)
    for path in FILES:
        tags = re.findall(r"ray(\d+\.\d+\.\d+)", path.read_text())
        assert set(tags) <= {RAY.group(1)}, path
    ours = [image for path in MANIFESTS for d in documents(path) for image in values(d, "image") if "asid" in image]
    assert ours and all(image.endswith(f"-ray{RAY.group(1)}") for image in ours)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    secrets = re.findall(r"(?:SECRET_ACCESS_KEY|ACCESS_KEY_ID|SESSION_TOKEN)\s*[=:]\s*(\S+)", path.read_text())
    assert set(secrets) <= {"..."}
    assert not re.search(r"AKIA[0-9A-Z]{16}", path.read_text())
