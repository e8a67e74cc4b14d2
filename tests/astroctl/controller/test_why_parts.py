"""The parts that read what others wrote: messages of schedulers, labels and taints."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astroctl.controller.why import nodes, said
from astroctl.controller.why.objects import amount, at, one_line, quantity
from tests.astroctl.controller.made import node, pod

MESSAGES = [
    # Kubernetes 1.20, 1.23, 1.31 and 1.35 say the same thing.
    "0/5 nodes are available: 2 node(s) had taint {gpu: reserved}, that the pod didn't tolerate, "
    "3 Insufficient nvidia.com/gpu.",
    "0/5 nodes are available: 2 node(s) had untolerated taint {gpu: reserved}, "
    "3 Insufficient nvidia.com/gpu.",
    "0/5 nodes are available: 2 node(s) had untolerated taint {gpu: reserved}, 3 Insufficient "
    "nvidia.com/gpu. preemption: 0/5 nodes are available: 5 Preemption is not helpful for "
    "scheduling.",
    "0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient nvidia.com/gpu. "
    "no new claims to deallocate, preemption: 0/5 nodes are available: 5 Preemption is not "
    "helpful for scheduling.",
]


@pytest.mark.parametrize("message", MESSAGES)
def test_scheduler_messages_of_all_versions(message: str) -> None:
    read = said.read(message)
    assert (read.total, read.tainted, read.insufficient) == (5, 2, {"nvidia.com/gpu": 3})
    assert read.others == ()
    assert read.taints in ((), ("gpu=reserved",))


def test_taints_without_value() -> None:
    read = said.read(
        "0/1 nodes are available: 1 node(s) had untolerated taint "
        "{node.kubernetes.io/unreachable: }."
    )
    assert read.taints == ("node.kubernetes.io/unreachable",)


def test_labels_and_cordons() -> None:
    read = said.read(
        "0/9 nodes are available: 1 Too many pods, 2 node(s) were unschedulable, 6 node(s) didn't "
        "match Pod's node affinity/selector."
    )
    assert (read.closed, read.unselected, read.others) == (2, 6, ("1 Too many pods",))


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    read = said.read(text)
    assert read.total is None or read.total >= 0


@given(
    st.lists(
        st.tuples(
            st.integers(1, 500),
            st.sampled_from(
                [
                    "Insufficient cpu",
                    "Insufficient nvidia.com/gpu",
                    "Too many pods",
                    "node(s) had untolerated taint {a.b/c: d}",
                    "node(s) were unschedulable",
                ]
            ),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda p: p[1],
    )
)
def test_all_nodes_are_accounted_for(parts: list[tuple[int, str]]) -> None:
    total = sum(n for n, _ in parts)
    read = said.read(
        f"0/{total} nodes are available: {', '.join(f'{n} {what}' for n, what in parts)}."
    )
    others = sum(int(o.split()[0]) for o in read.others)
    counted = read.tainted + read.unselected + read.closed + sum(read.insufficient.values())
    assert (read.total, counted + others) == (total, total)


def _required(operator: str, *values: str) -> dict[str, Any]:
    expression = {"key": "gpu", "operator": operator, "values": list(values)}
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}


@pytest.mark.parametrize(
    ("operator", "values", "matches"),
    [
        ("In", ("h100", "h200"), True),
        ("In", ("a100",), False),
        ("NotIn", ("a100",), True),
        ("Exists", (), True),
        ("DoesNotExist", (), False),
        ("Gt", ("5",), False),
    ],
)
def test_required_affinity(operator: str, values: tuple[str, ...], matches: bool) -> None:
    wanting = pod(affinity=_required(operator, *values))
    assert nodes.selects(wanting, node(labels={"gpu": "h100"})) is matches


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "gpu", "value": "reserved"}, True),
        ({"key": "gpu", "value": "other"}, False),
        ({"key": "cpu", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], tolerated: bool) -> None:
    wanting, kept = pod(tolerations=[toleration]), node(taint=("gpu", "reserved"))
    assert (nodes.untolerated(wanting, kept) == "") is tolerated


@given(st.lists(st.sampled_from(["full", "small", "tainted", "cordoned", "other"]), max_size=12))
def test_every_node_is_sorted_once(kinds: list[str]) -> None:
    made = {
        "full": node(labels={"pool": "a"}),
        "small": node(gpus=1, labels={"pool": "a"}),
        "tainted": node(labels={"pool": "a"}, taint=("gpu", "reserved")),
        "cordoned": node(labels={"pool": "a"}, unschedulable=True),
        "other": node(labels={"pool": "b"}),
    }
    seen = nodes.match(pod(nodeSelector={"pool": "a"}), [made[k] for k in kinds])
    assert seen.total == len(kinds)
    assert seen.unselected == kinds.count("other")
    assert seen.large == seen.open + seen.closed + sum(seen.tainted.values())
    assert (seen.open, seen.closed) == (kinds.count("full"), kinds.count("cordoned"))
    assert seen.total - seen.unselected - seen.large == kinds.count("small")


@pytest.mark.parametrize(
    ("text", "value"),
    [("8", 8), ("500m", 0.5), ("2Gi", 2 * 2**30), ("1k", 1000), ("1e3", 1000), ("x", 0)],
)
def test_quantities(text: str, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


def test_words() -> None:
    assert amount("memory", 2**31) == "2.0 GiB memory"
    assert amount("cpu", 0.5) == "0.5 cpu"
    assert at("2026-03-01T12:03:04Z") == "12:03:04 UTC"
    assert one_line("a\n b." + "c" * 900) == "a b." + "c" * 395 + "…"
