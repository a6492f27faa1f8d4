"""Reads the manifests of cluster/ and the schemas that an API server would check them against."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster"
FILES = sorted(path for path in CLUSTER.iterdir() if path.is_file())
MANIFESTS = sorted(path for path in CLUSTER.glob("*.yaml") if path.name != "ray-autoscaler.yaml")


def documents(path: Path) -> list[dict[str, Any]]:
    """Every document of a file, including those inside a ConfigMap."""
    result = list(yaml.safe_load_all(path.read_text()))
    for document in list(result):
        if document.get("kind") == "ConfigMap":
            result += [yaml.safe_load(text) for name, text in document["data"].items() if name.endswith(".yaml")]
    return result


def of_kind(kind: str) -> list[dict[str, Any]]:
    """Every document of this kind in all manifests."""
    return [document for path in MANIFESTS for document in documents(path) if document["kind"] == kind]


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


def closed(schema: Any) -> Any:
    """A schema in which unknown fields are errors. An API server drops them silently."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


RAY_JOB = closed(json.loads(gzip.decompress((Path(__file__).parent / "rayjob_spec.json.gz").read_bytes())))
RAY_CLUSTER = RAY_JOB["properties"]["rayClusterSpec"]
POD_TEMPLATE = RAY_JOB["properties"]["submitterPodTemplate"]


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a value: path and message of each fault."""
    found = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]
