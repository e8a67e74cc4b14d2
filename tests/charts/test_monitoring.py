"""Alerts, dashboards and monitors name figures and ports that exist."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from astroctl.controller.metrics import Metrics
from astrosage.train.tracking.ray_gauges import GAUGES, LABELLED
from tests.charts.helm import CHART, Helm, Object, one
from tests.charts.values import MONITORING, PLACED

_OTHERS = {
    "container_memory_working_set_bytes",
    "ray_node_gpus_utilization",
    "ray_node_gram_used",
    "ray_node_mem_used",
    "ray_node_network_send_speed",
}
_FROM_THE_SCRAPE = {"namespace", "pod", "container", "le", "astrosage_io_job"}
_WORDS = {
    "absent", "and", "avg", "bool", "by", "count", "delta", "histogram_quantile", "ignoring",
    "max", "min", "offset", "on", "or", "quantile_over_time", "rate", "sum", "unless", "vector",
}  # fmt: skip


def figures_of_the_operator() -> dict[str, set[str]]:
    """The figures that it tells, with their labels."""
    status = {
        "phase": "Running",
        "costUSD": 1.5,
        "progress": {
            "step": 1,
            "total": 2,
            "mfu": 0.4,
            "tokensPerSecond": 5.0,
            "heartbeat": "2026-01-01T00:00:00Z",
        },
    }
    job = {"metadata": {"namespace": "a", "name": "j"}, "status": status}
    nodes = {"current": 1, "desired": 2, "ready": 1, "pendingGPUs": 8, "spendUSD": 3.0}
    pool = {"metadata": {"name": "p"}, "spec": {"budget": {"perHour": 5}}, "status": nodes}

    class Seen:
        def jobs(self) -> list[Object]:
            return [job]

        def pools(self) -> list[Object]:
            return [pool]

    metrics = Metrics(Seen())
    metrics.leading, metrics.idle_gpus = True, {"p": 8}
    metrics.failed("ApiError")
    metrics.looked(0.1)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                name = re.sub(r"_(bucket|count|sum)$", "", sample.name)
                found.setdefault(name, set()).update(sample.labels)
    return found


def figures_of_training() -> dict[str, set[str]]:
    """The figures that training tells through Ray, with their labels."""
    names = {name: {"run", "stage"} for name, _ in GAUGES.values()} | {"step": {"run", "stage"}}
    labelled = {name: {"run", "stage", label} for name, label, _ in LABELLED.values()}
    return {f"ray_astrosage_train_{n}": labels for n, labels in (names | labelled).items()}


def expressions(found: list[Object]) -> dict[str, str]:
    """All PromQL of the chart, by where it stands."""
    made = {}
    for group in one(found, "PrometheusRule")["spec"]["groups"]:
        made |= {rule["alert"]: rule["expr"] for rule in group["rules"]}
    for file in sorted((CHART / "files/dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                made[f"{file.name}: {panel['title']} {target['refId']}"] = target["expr"]
    return made


def test_expressions_use_figures_that_exist(new_helm: Helm) -> None:
    operators, used = figures_of_the_operator(), set[str]()
    ours = operators | figures_of_training()
    for place, text in expressions(new_helm.template(MONITORING)).items():
        bare = re.sub(r'"[^"]*"', "", text)
        names = set(re.findall(r"\b[a-z][a-z_]+\b(?!\s*(?:[=!]~?|~))", bare)) - _WORDS
        labels = set(re.findall(r"\b([a-z_]+)\s*(?:=~|!~|!=|=(?!=))", bare))
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", bare):
            labels |= {label.strip() for label in group.split(",")}
        figures = {re.sub(r"_(bucket|count|sum)$", "", n) for n in names - labels}
        assert figures <= ours.keys() | _OTHERS, place
        known = _FROM_THE_SCRAPE.union(*(ours.get(f, set()) for f in figures))
        assert labels <= known, place
        used |= figures
    assert used >= operators.keys(), "figures that nobody looks at"


def test_expressions_close_what_they_open(new_helm: Helm) -> None:
    for place, text in expressions(new_helm.template(MONITORING)).items():
        bare = re.sub(r'"[^"]*"', "", text)
        for pair in ("()", "[]", "{}"):
            assert bare.count(pair[0]) == bare.count(pair[1]), place


def test_alerts_say_what_to_do(helm: Helm) -> None:
    rules = [
        rule
        for group in one(helm.template(MONITORING), "PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert {r["alert"] for r in rules} >= {
        "AstroSageOperatorDown",
        "AstroSageJobStalled",
        "AstroSageJobSlower",
        "AstroSageJobFailed",
        "AstroSageJobPending",
        "AstroSagePoolIdleGPUs",
        "AstroSagePoolBudget",
    }
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} <= rule["annotations"].keys()
        assert "%!" not in str(rule), "a format of Go's went wrong"
        for left, right in (("{{", "}}"),):
            text = str(rule["annotations"])
            assert text.count(left) == text.count(right)


def test_thresholds_are_values(new_helm: Helm) -> None:
    alerts = {"enabled": True, "heartbeatSeconds": 123, "pendingFor": "7m"}
    text = str(one(new_helm.template({"monitoring": {"alerts": alerts}}), "PrometheusRule"))
    assert "> 123" in text
    assert "'for': '7m'" in text


@pytest.mark.parametrize("file", sorted(p.name for p in (CHART / "files/dashboards").iterdir()))
def test_dashboards_are_whole(file: str, new_helm: Helm) -> None:
    board: dict[str, Any] = json.loads((CHART / "files/dashboards" / file).read_text())
    panels = board["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not mine & cells, panel["title"]
        cells |= mine
    maps = [o for o in new_helm.template(MONITORING) if file in (o.get("data") or {})]
    assert json.loads(maps[0]["data"][file]) == board
    assert maps[0]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_monitors_find_what_they_watch(new_helm: Helm) -> None:
    found = new_helm.template({**MONITORING, **PLACED})
    service = one(found, "Service")
    monitor = one(found, "ServiceMonitor")["spec"]
    labels = monitor["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [p["name"] for p in service["spec"]["ports"]]
    pods = one(found, "PodMonitor")["spec"]
    assert pods["podMetricsEndpoints"][0]["port"] == "metrics"
