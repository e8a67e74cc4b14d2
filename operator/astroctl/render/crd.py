"""Custom resource definitions, made from the models so that they cannot drift.

``python -m astroctl.render.crd`` prints them; ``--write`` writes them into the chart.

A *structural schema* (Kubernetes' own subset of OpenAPI 3.0) knows no references, no null, no
unions of types and no ``additionalProperties: false``: unknown fields are refused by the API
server's field validation or pruned.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool
from astrosage.spec.status import JobStatus, PoolStatus

VERSION_ANNOTATION = "astrosage.io/version"
FOLDER = Path("charts/astrosage/files/crds")
_LIST_KEYS = {"conditions": "type", "stages": "name"}
_DROPPED = ("title", "additionalProperties", "$defs", "examples")
_OBJECT_FIELDS = {
    "apiVersion": {"type": "string", "description": "Version of the format."},
    "kind": {"type": "string", "description": "Kind of object."},
    "metadata": {"type": "object"},
}


def crds() -> list[dict[str, Any]]:
    """The definitions of AstroJob and GPUNodePool."""
    return [
        _definition(
            AstroJob,
            JobStatus,
            plural="astrojobs",
            short="aj",
            scope="Namespaced",
            columns=[
                _column("Phase", ".status.phase"),
                _column("Stage", ".status.progress.stage"),
                _column("Step", ".status.progress.step", "integer"),
                _column("Of", ".status.progress.total", "integer"),
                _column("Loss", ".status.progress.loss", "number"),
                _column("Tokens/s", ".status.progress.tokensPerSecond", "number"),
                _column("Reason", ".status.reason"),
                _column("USD", ".status.costUSD", "number", priority=1),
                _column("MFU", ".status.progress.mfu", "number", priority=1),
                _column("Checkpoint", ".status.lastCheckpoint", priority=1),
                _column("Age", ".metadata.creationTimestamp", "date"),
            ],
            # RayJob names add group and attempt to it, and may have 47 characters.
            rule={
                "rule": "size(self.metadata.name) <= 40",
                "message": "metadata.name may have at most 40 characters",
            },
        ),
        _definition(
            GPUNodePool,
            PoolStatus,
            plural="gpunodepools",
            short="gnp",
            scope="Cluster",
            columns=[
                _column("Accelerator", ".spec.accelerator"),
                _column("Current", ".status.current", "integer"),
                _column("Desired", ".status.desired", "integer"),
                _column("Ready", ".status.ready", "integer"),
                _column("Max", ".spec.maxNodes", "integer"),
                _column("Waiting-GPUs", ".status.pendingGPUs", "integer"),
                _column("USD/h", ".status.pricePerHour", "number"),
                _column("USD", ".status.spendUSD", "number", priority=1),
                _column("Driver", ".spec.driver", priority=1),
                _column("Age", ".metadata.creationTimestamp", "date"),
            ],
        ),
    ]


def _column(name: str, path: str, kind: str = "string", priority: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return column | ({"priority": priority} if priority else {})


def _definition(
    model: type[BaseModel],
    status: type[BaseModel],
    *,
    plural: str,
    short: str,
    scope: str,
    columns: list[dict[str, Any]],
    rule: dict[str, str] | None = None,
) -> dict[str, Any]:
    kind, group = model.__name__, "astrosage.io"
    whole = model.model_json_schema(by_alias=True)
    schema: dict[str, Any] = {
        "type": "object",
        "description": _words(whole.get("description", "")),
        "required": ["spec"],
        "properties": {
            **_OBJECT_FIELDS,
            "spec": structural(whole["properties"]["spec"], whole["$defs"]),
            "status": status_schema(status),
        },
    }
    if rule:
        schema["x-kubernetes-validations"] = [rule]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {VERSION_ANNOTATION: importlib.metadata.version("astrosage")},
        },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["astrosage"],
            },
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def status_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Schema of a status: without defaults, since the operator alone writes it."""
    whole = model.model_json_schema(by_alias=True, mode="serialization")
    found = structural(whole, whole.get("$defs", {}), defaults=False)
    return found


def structural(
    node: dict[str, Any], definitions: dict[str, Any], *, defaults: bool = True, name: str = ""
) -> dict[str, Any]:
    """A JSON Schema node of pydantic's as a structural schema.

    Args:
        node: The node.
        definitions: What its references point to.
        defaults: Whether defaults are kept.
        name: The field it belongs to, for what depends on that.
    """
    node = _resolved(node, definitions)
    if "anyOf" in node:
        # One of several types cannot be said; the operator's own check tells what is wrong.
        return _described(node, {"x-kubernetes-preserve-unknown-fields": True})
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {
                field: structural(child, definitions, defaults=defaults, name=field)
                for field, child in value.items()
            }
        elif key == "items":
            result[key] = structural(value, definitions, defaults=defaults)
        elif key == "prefixItems":
            result["items"] = structural(value[0], definitions, defaults=defaults)
        elif key == "const":
            result["enum"] = [value]
        elif key in ("exclusiveMinimum", "exclusiveMaximum"):
            result[key.removeprefix("exclusive").lower()], result[key] = value, True
        elif key == "default":
            if defaults and value is not None:
                # Fields of an empty object get their own defaults.
                result[key] = {} if "properties" in node else value
        elif key == "description":
            result[key] = _words(value)
        elif key not in _DROPPED:
            result[key] = value
    if node.get("additionalProperties") is True:
        result["x-kubernetes-preserve-unknown-fields"] = True
    if isinstance(node.get("additionalProperties"), dict):
        values = node["additionalProperties"]
        result["additionalProperties"] = structural(values, definitions, defaults=defaults)
    if name in _LIST_KEYS and node.get("type") == "array" and "properties" in result["items"]:
        result["x-kubernetes-list-type"] = "map"
        result["x-kubernetes-list-map-keys"] = [_LIST_KEYS[name]]
    if not defaults:
        result.pop("required", None)
        if result.get("x-kubernetes-list-type") == "map":
            result["items"]["required"] = [_LIST_KEYS[name]]
    return result


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The node with its reference followed and null taken out of its types."""
    if "anyOf" in node:
        types = [n for n in node["anyOf"] if n.get("type") != "null"]
        if len(types) == 1:
            rest = {k: v for k, v in node.items() if k != "anyOf"}
            return _resolved({**types[0], **rest}, definitions)
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        rest = {k: v for k, v in node.items() if k != "$ref"}
        return _resolved({**target, **rest}, definitions)
    return node


def _described(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    kept = {"description": _words(node["description"])} if "description" in node else {}
    default = {"default": node["default"]} if node.get("default") is not None else {}
    return {**kept, **default, **schema}


def _words(text: str) -> str:
    return " ".join(text.split())


def to_yaml(definition: dict[str, Any]) -> str:
    """A definition as a file of the chart."""
    text: str = yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=100)
    return "# Made from the models by `make docs`; do not edit.\n" + text


def main() -> None:
    """Print the definitions, or write them into the chart."""
    for definition in crds():
        if "--write" in sys.argv[1:]:
            FOLDER.mkdir(parents=True, exist_ok=True)
            file = FOLDER / f"{definition['spec']['names']['plural']}.yaml"
            file.write_text(to_yaml(definition), encoding="utf-8")
        else:
            print("---\n" + to_yaml(definition), end="")


if __name__ == "__main__":
    main()
