"""Custom resource definitions as JSON Schemas that refuse what they do not know."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema
import pytest
import yaml

from tests.kube.definitions import folder

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FILES = {
    "RayJob": "kuberay-1.7/ray.io_rayjobs.yaml",
    "RayService": "kuberay-1.7/ray.io_rayservices.yaml",
}


def check(manifest: dict[str, Any]) -> None:
    """Fail if a manifest is not what its definition describes; skip where there is none."""
    errors = [
        f"{'.'.join(str(p) for p in e.absolute_path)}: {e.message[:200]}"
        for e in validator(manifest["kind"]).iter_errors(manifest)
    ]
    assert not errors, "\n".join(errors)


@functools.cache
def validator(kind: str) -> Any:
    path = folder() / _FILES[kind]
    if not path.is_file():
        pytest.skip(f"no {path}: set ASTRO_TEST_CRDS to a folder with KubeRay's definitions")
    definition = yaml.load(path.read_text(), _LOADER)
    (version,) = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    schema = _strict(version["schema"]["openAPIV3Schema"])
    # Of an object's metadata, definitions say nothing; the API server knows it.
    schema["properties"]["metadata"] = {
        "type": "object",
        "required": ["name", "namespace"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "maxLength": 63},
            "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            "ownerReferences": {"type": "array"},
        },
    }
    return jsonschema.Draft7Validator(schema)


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(n) for n in node]
    if not isinstance(node, dict):
        return node
    made = {k: v for k, v in node.items() if k not in ("description", "default")}
    for key, value in made.items():
        if key in ("properties", "patternProperties"):
            made[key] = {name: _strict(child) for name, child in value.items()}
        elif key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf", "not"):
            made[key] = _strict(value)
    known = "properties" in made and "additionalProperties" not in made
    if known and not made.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made
