"""What helm refuses, by the schema made from the models."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from astroctl.render import chart
from tests.charts.helm import CHART, ROOT, Helm, Refused
from tests.charts.values import MATRIX

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown at the top": ({"replicas": 2}, "replicas"),
    "unknown below": ({"operator": {"replica": 2}}, "replica"),
    "unknown setting": ({"settings": {"pollSecond": 2}}, "pollSecond"),
    "a setting that follows from others": ({"settings": {"poolsEnabled": True}}, "poolsEnabled"),
    "text for a number": ({"operator": {"replicas": "two"}}, "replicas"),
    "too many": ({"operator": {"replicas": 50}}, "replicas"),
    "text for a list": ({"watchNamespaces": "team-a"}, "watchNamespaces"),
    "no name": ({"watchNamespaces": ["Team A"]}, "watchNamespaces"),
    "no quantity": ({"sharedStorage": {"size": "much"}}, "size"),
    "no access mode": ({"sharedStorage": {"accessModes": ["Many"]}}, "accessModes"),
    "no digest": ({"image": {"digest": "sha256:1"}}, "digest"),
    "no pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    "no duration": ({"monitoring": {"alerts": {"idleFor": "long"}}}, "idleFor"),
    "no ratio": ({"monitoring": {"alerts": {"budgetRatio": 2}}}, "budgetRatio"),
    "no port": ({"networkPolicy": {"apiServer": {"ports": [70000]}}}, "ports"),
    "nested, in a list": ({"pools": {"scale": [{"apiGroup": "x", "resources": []}]}}, "resources"),
    "a long name": ({"endpoint": {"name": "e" * 48}}, "name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_helm_refuses(case: str, helm: Helm) -> None:
    values, field = WRONG[case]
    with pytest.raises(Refused, match=field):
        helm.text(values)


def test_the_default_values_are_the_models(new_helm: Helm) -> None:
    written = yaml.safe_load((CHART / "values.yaml").read_text())

    def with_null(values: Any, defaults: Any) -> Any:
        if not isinstance(defaults, dict) or not isinstance(values, dict):
            return values
        return {k: with_null(values.get(k), v) for k, v in defaults.items()}

    defaults = chart._given(chart.defaults())
    assert with_null(written, defaults) == defaults


@pytest.mark.parametrize("name", MATRIX)
def test_the_schema_accepts_what_the_tests_use(name: str) -> None:
    jsonschema.validate(json.loads(json.dumps(_without_null(MATRIX[name]))), chart.schema())


def _without_null(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {k: _without_null(v) for k, v in values.items() if v is not None}


def test_generated_files_are_those_of_the_models() -> None:
    assert (CHART / "values.yaml").read_text() == chart.values_yaml(), "run `make docs`"
    written = json.loads((CHART / "values.schema.json").read_text())
    assert written == chart.schema(), "run `make docs`"
    parts = json.loads((CHART / "files/endpoint.json").read_text())
    assert parts == chart.endpoint_parts(), "run `make docs`"
    page = (ROOT / "docs/chart.md").read_text()
    assert page == chart.page(page), "run `make docs`"


def test_every_value_is_explained() -> None:
    schema = chart.schema()
    for name, node in {"Values": schema, **schema["$defs"]}.items():
        for field, value in node.get("properties", {}).items():
            assert value.get("description") or "$ref" in value, f"{name}.{field}"
