"""The manifests of cluster/: valid by KubeRay's schemas, commands that verbs accept, restricted pods, no secrets."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from asid_core import config as configs
from jobs import cli, command
from tests.cluster.manifests import (
    CLUSTER,
    FILES,
    MANIFESTS,
    POD_TEMPLATE,
    RAY_CLUSTER,
    RAY_JOB,
    documents,
    faults,
    of_kind,
    values,
)

RAY = re.search(r"^ray==([\d.]+)$", (CLUSTER.parent / "constraints.txt").read_text(), re.M)
SCHEMAS = {"RayJob": RAY_JOB, "RayCluster": RAY_CLUSTER}
RAY_JOBS = of_kind("RayJob")
CLUSTERS = [job["spec"]["rayClusterSpec"] for job in RAY_JOBS] + [one["spec"] for one in of_kind("RayCluster")]
LABEL = {"app.kubernetes.io/part-of": "asid"}


def pod_templates() -> list[dict[str, Any]]:
    """Every pod template: heads, workers, submitters and the waiter."""
    found = [*values(CLUSTERS, "template"), *values(RAY_JOBS, "submitterPodTemplate")]
    return found + [job["spec"]["jobTemplate"]["spec"]["template"] for job in of_kind("CronJob")]


def name_of(document: dict[str, Any]) -> str:
    metadata = document["metadata"]
    return str(metadata.get("name") or metadata["generateName"])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_kuberay_s_schemas_accept_a_manifest(path: Path) -> None:
    for document in documents(path):
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9-])?", name_of(document))
        if schema := SCHEMAS.get(document["kind"]):
            assert document["apiVersion"] == "ray.io/v1" and set(document) == {"apiVersion", "kind", "metadata", "spec"}
            assert faults(document["spec"], schema) == []


def test_the_schemas_refuse_unknown_fields_and_wrong_types() -> None:
    job = RAY_JOBS[0]["spec"]
    assert faults(job | {"activeDeadline": 1}, RAY_JOB) and faults(job | {"backoffLimit": "two"}, RAY_JOB)
    head = job["rayClusterSpec"]["headGroupSpec"]
    pod = {**head["template"], "spec": head["template"]["spec"] | {"securityContex": {}}}
    assert faults(job["rayClusterSpec"] | {"headGroupSpec": head | {"template": pod}}, RAY_CLUSTER)


def test_every_documented_kind_has_a_manifest() -> None:
    kinds = {document["kind"] for path in MANIFESTS for document in documents(path)}
    assert kinds >= {"RayCluster", "RayJob", "CronJob", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"}


@pytest.mark.parametrize("job", RAY_JOBS, ids=name_of)
def test_the_verb_accepts_the_command_of_a_job(job: dict[str, Any]) -> None:
    program, verb, *words = shlex.split(job["spec"]["entrypoint"])
    assert program == "asid"
    args = command.build_parser(cli.verb_named(verb)).parse_args(words)
    assert args.ray_address == "auto"
    for uri in (args.weights, *(value for value in vars(args).values() if "BUCKET" in str(value))):
        assert uri is None or uri.startswith("s3://BUCKET/")  # nodes share no disk
    if verb == "train":
        config = configs.load(args.config, args.set)
        assert args.weights or not config.model.encoder.starts_from_projection
        gpus = [g["replicas"] for g in job["spec"]["rayClusterSpec"]["workerGroupSpecs"] if g["groupName"] == "gpu"]
        assert sum(gpus) >= args.workers


@pytest.mark.parametrize("job", RAY_JOBS, ids=name_of)
def test_a_job_can_be_created_again_ends_in_time_and_is_removed(job: dict[str, Any]) -> None:
    assert "name" not in job["metadata"] and len(job["metadata"]["generateName"]) <= 40  # KubeRay allows 47 in all
    spec = job["spec"]
    assert spec["activeDeadlineSeconds"] > 0 and spec["submissionMode"] == "K8sJobMode"
    # KubeRay refuses rules together with the older fields
    assert not {"shutdownAfterJobFinishes", "ttlSecondsAfterFinished"} & set(spec)
    rules = spec["deletionStrategy"]["deletionRules"]
    ends = [{"jobStatus": "SUCCEEDED"}, {"jobStatus": "FAILED"}, {"jobDeploymentStatus": "Failed"}]
    for policy in ("DeleteCluster", "DeleteSelf"):
        of_policy = [rule["condition"] for rule in rules if rule["policy"] == policy]
        assert [{k: v for k, v in c.items() if k != "ttlSeconds"} for c in of_policy] == ends
        assert policy == "DeleteSelf" or all(c["ttlSeconds"] == 0 for c in of_policy)  # no node idles after a run


@pytest.mark.parametrize("spec", CLUSTERS)
def test_a_cluster_has_a_token_and_gives_back_its_gpus(spec: dict[str, Any]) -> None:
    assert RAY and spec["rayVersion"] == RAY.group(1)
    assert spec["authOptions"] == {"mode": "token"} and spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2" and spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 60
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    names = [group["groupName"] for group in spec["workerGroupSpecs"]]
    assert names and len(set(names)) == len(names)
    for group in spec["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert ("nvidia.com/gpu" in limits) == (group["groupName"] == "gpu")
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["minReplicas"] == 0 or group["groupName"] != "gpu"


def test_manifests_that_run_the_pipeline_use_one_cluster() -> None:
    with_cpus = [c for c in CLUSTERS if c["workerGroupSpecs"][0]["groupName"] == "cpu"]
    assert len(with_cpus) == 3 and all(cluster == with_cpus[0] for cluster in with_cpus)


@pytest.mark.parametrize("template", pod_templates())
def test_a_pod_is_restricted_and_has_limits(template: dict[str, Any]) -> None:
    """The Pod Security Standard "restricted"."""
    assert faults(template, POD_TEMPLATE) == []
    assert LABEL.items() <= template["metadata"]["labels"].items()  # the NetworkPolicy goes by it
    pod = template["spec"]
    assert pod["serviceAccountName"] in {name_of(account) for account in of_kind("ServiceAccount")}
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    for container in pod["containers"]:
        security, resources = container["securityContext"], container["resources"]
        assert security["allowPrivilegeEscalation"] is False and security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"} and "privileged" not in security
        assert resources["requests"] == resources["limits"]  # Ray schedules by its limits
        assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["limits"])


@pytest.mark.parametrize("spec", CLUSTERS)
def test_credentials_come_from_a_role_or_a_secret(spec: dict[str, Any]) -> None:
    for template in values(spec, "template"):
        (container,) = template["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "asid-s3", "optional": True}}]
        assert {port["name"] for port in container["ports"]} >= {"metrics"}
    workers = [group["template"]["spec"] for group in spec["workerGroupSpecs"]]
    assert all(pod["automountServiceAccountToken"] is False for pod in workers)  # only the head needs the API server
    assert "tolerations" not in spec["headGroupSpec"]["template"]["spec"]  # the head is not for spot nodes
    assert all(any("spot" in str(t) for t in pod["tolerations"]) for pod in workers)


def test_service_accounts_name_the_registry_s_secret() -> None:
    assert all(account["imagePullSecrets"] for account in of_kind("ServiceAccount"))


def test_the_network_policy_opens_the_dashboard_to_the_operator_only() -> None:
    (policy,) = of_kind("NetworkPolicy")
    assert policy["spec"]["podSelector"] == {"matchLabels": LABEL} and policy["spec"]["policyTypes"] == ["Ingress"]
    among, operator, prometheus = policy["spec"]["ingress"]
    assert among == {"from": [{"podSelector": {"matchLabels": LABEL}}]}
    assert [port["port"] for port in operator["ports"]] == [8265]
    assert [port["port"] for port in prometheus["ports"]] == [8080]
    assert all("namespaceSelector" in peer for rule in (operator, prometheus) for peer in rule["from"])


def test_the_disruption_budget_is_for_heads() -> None:
    (budget,) = of_kind("PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == LABEL | {"ray.io/node-type": "head"}
    assert budget["spec"]["minAvailable"] == 1  # the only form for pods of a custom resource


def test_the_nightly_job_waits_and_may_only_create_and_look() -> None:
    (cron,) = of_kind("CronJob")
    spec = cron["spec"]
    assert len(spec["schedule"].split()) == 5 and spec["concurrencyPolicy"] == "Forbid"
    (job,) = (job for job in RAY_JOBS if "reindex" in name_of(job))
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > job["spec"]["activeDeadlineSeconds"]
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    (role,) = of_kind("Role")
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    (binding,) = of_kind("RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name_of(role)}]


KUBECTL = """#!/bin/sh
if [ "$1" = create ]; then echo rayjob.ray.io/asid-reindex-x; exit 0; fi
read -r line < "$ANSWERS"
sed -i 1d "$ANSWERS"
[ "$line" != lost ] || exit 1
echo "$line"
"""


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (["/", "Running/RUNNING", "Complete/SUCCEEDED"], 0),
        (["lost", "Running/RUNNING", "lost", "lost", "Complete/SUCCEEDED"], 0),
        (["Running/RUNNING", "Retrying/FAILED", "Running/RUNNING", "Complete/SUCCEEDED"], 0),
        (["Running/RUNNING", "Failed/FAILED"], 1),
        (["Complete/STOPPED"], 1),
        (["ValidationFailed/"], 1),
        (["Running/RUNNING"] + ["lost"] * 60, 1),
    ],
)
def test_the_waiter_waits_for_the_end_and_survives_a_lost_answer(tmp_path: Path, answers: list[str], code: int) -> None:
    (cron,) = of_kind("CronJob")
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    for name, text in {"kubectl": KUBECTL, "sleep": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "answers").write_text("\n".join([*answers, "after the end"]) + "\n")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ANSWERS": str(tmp_path / "answers")}
    ended = subprocess.run([*container["command"], *container["args"]], env=environment, capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    assert (tmp_path / "answers").read_text() == "after the end\n"


def test_the_autoscaler_names_its_head_and_counts_its_machines() -> None:
    config = yaml.safe_load((CLUSTER / "ray-autoscaler.yaml").read_text())
    types = config["available_node_types"]
    assert config["head_node_type"] in types and config["provider"]["type"] == "aws"
    assert all("InstanceType" in kind["node_config"] for kind in types.values())
    assert config["max_workers"] == sum(kind.get("max_workers", 0) for kind in types.values())
    assert types["gpu"]["min_workers"] == 0


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
