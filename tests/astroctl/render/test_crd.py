from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.render.crd import FOLDER, crds, to_yaml
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool

ROOT = Path(__file__).resolve().parents[3]
DEFINITIONS = {d["spec"]["names"]["kind"]: d for d in crds()}


def schema(kind: str) -> dict[str, Any]:
    version = DEFINITIONS[kind]["spec"]["versions"][0]
    return version["schema"]["openAPIV3Schema"]  # type: ignore[no-any-return]


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in (node.get("properties") or {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), dict):
            yield from nodes(node[name], f"{path}[]")


@pytest.mark.parametrize("definition", crds(), ids=lambda d: str(d["spec"]["names"]["kind"]))
def test_the_charts_files_are_those_of_the_models(definition: dict[str, Any]) -> None:
    file = ROOT / FOLDER / f"{definition['spec']['names']['plural']}.yaml"
    text = to_yaml(definition)
    assert file.read_text() == text, "run `make docs`"
    assert yaml.safe_load(text) == definition


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_schemas_are_structural(kind: str) -> None:
    for path, node in nodes(schema(kind)):
        free = node.get("x-kubernetes-preserve-unknown-fields")
        assert "type" in node or free, path
        assert not free or node.get("type", "object") == "object", path
        assert not {"$ref", "anyOf", "oneOf", "const", "prefixItems", "title"} & node.keys(), path
        assert not ("properties" in node and "additionalProperties" in node), path
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert isinstance(node.get(bound, False), bool), path
        if node.get("default") == {}:
            required = set(node.get("required") or [])
            assert not required, f"{path}: an empty default lacks {required}"


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_every_field_explains_itself(kind: str) -> None:
    fields = [(p, n) for p, n in nodes(schema(kind)) if p and not p.endswith("[]")]
    silent = [p for p, n in fields if not n.get("description") and p != ".metadata"]
    # Groups of fields are explained by the group.
    assert [p for p in silent if p not in (".spec", ".status")] == []


def test_every_field_of_the_models_is_there() -> None:
    for model in (AstroJob, GPUNodePool):
        whole = model.model_json_schema(by_alias=True)
        spec = schema(model.__name__)["properties"]["spec"]["properties"]
        name = whole["properties"]["spec"]["$ref"].rsplit("/", 1)[-1]
        assert spec.keys() == whole["$defs"][name]["properties"].keys()


def test_defaults_are_those_of_the_models() -> None:
    train = schema("AstroJob")["properties"]["spec"]["properties"]["stages"]["items"]["properties"]
    fields = train["train"]["properties"]
    assert fields["learningRate"]["default"] == 2e-5
    assert fields["zero"]["default"] == {}
    assert fields["zero"]["properties"]["stage"] == {
        "default": 3,
        "description": "What is sharded: 0 nothing, 1 optimizer states, 2 and gradients, 3 and "
        "parameters.",
        "enum": [0, 1, 2, 3],
        "type": "integer",
    }
    assert "default" not in fields["epochs"]


def test_what_one_field_says_of_another_is_a_rule() -> None:
    found = {
        path: [r["rule"] for r in node["x-kubernetes-validations"]]
        for kind in DEFINITIONS
        for path, node in nodes(schema(kind), kind)
        if "x-kubernetes-validations" in node
    }
    assert found["AstroJob"] == ["size(self.metadata.name) <= 40"]
    assert "self.storage == oldSelf.storage" in found["AstroJob.spec"]
    assert any("has(self.prepare)" in r for r in found["AstroJob.spec.stages[]"])
    assert "self.minNodes <= self.maxNodes" in found["GPUNodePool.spec"]


def test_costly_rules_stand_in_bounded_lists() -> None:
    """The API server refuses rules whose cost it cannot bound."""

    def check(node: dict[str, Any], path: str) -> bool:
        inside = "x-kubernetes-validations" in node
        for name, child in (node.get("properties") or {}).items():
            inside |= check(child, f"{path}.{name}")
        if isinstance(node.get("items"), dict) and check(node["items"], f"{path}[]"):
            assert node.get("maxItems", 10**9) <= 256, path
            inside = True
        return inside

    for kind in DEFINITIONS:
        check(schema(kind)["properties"]["spec"], kind)
