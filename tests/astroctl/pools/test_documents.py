"""Pools from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from astroctl.pools.documents import read_pools
from astroctl.pools.facts import pool_state
from astroctl.pools.model import Change
from astrosage.errors import AstroError, DataError, NotFoundError, SpecError

POOL = {
    "apiVersion": "astrosage.io/v1alpha1",
    "kind": "GPUNodePool",
    "metadata": {"name": "spot"},
    "spec": {
        "driver": "eks",
        "reference": {"name": "n", "cluster": "c"},
        "maxNodes": 4,
        "minNodes": 1,
        "cpusPerNode": 96,
        "memoryPerNode": "1Ti",
        "spot": True,
        "pricePerHour": 30,
        "idleSeconds": 60,
        "bootSeconds": 300,
        "maxStep": 2,
        "budget": {"perHour": 100, "perJob": 50},
    },
}


def changed(**spec: object) -> dict[str, object]:
    return {**POOL, "spec": {**POOL["spec"], **spec}}  # type: ignore[dict-item]


def test_documents_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "pools.yaml"
    other = {**POOL, "metadata": {"name": "b"}}
    file.write_text("---\n" + yaml.safe_dump_all([POOL, other]) + "---\n")
    assert [p.metadata.name for p in read_pools(file)] == ["spot", "b"]
    # As the API server gives them.
    listed = {
        "kind": "List",
        "items": [{**POOL, "metadata": {"name": "spot", "uid": "1"}, "status": {"current": 1}}],
    }
    file.write_text(yaml.safe_dump(listed))
    assert [p.metadata.name for p in read_pools(file)] == ["spot"]


def test_facts(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(POOL))
    (pool,) = read_pools(tmp_path / "p.yaml")
    state = pool_state(pool, desired=3, change=Change(5.0), names_nodes=False, unable="x")
    assert (state.min_nodes, state.max_nodes, state.gpus_per_node) == (1, 4, 8)
    assert (state.cpus_per_node, state.memory_per_node) == (96, 2**40)
    assert (state.price, state.spot, state.budget_per_hour) == (30, True, 100)
    assert (state.idle_seconds, state.boot_seconds, state.max_step) == (60, 300, 2)
    assert (state.budget_per_job, state.desired, state.unable) == (50, 3, "x")
    assert (state.names_nodes, state.change) == (False, Change(5.0))


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({**POOL, "kind": "NodePool"}, "document 1: kind: found 'NodePool', not GPUNodePool"),
        (changed(maxNode=1), "spec.maxNode: unknown field; did you mean `maxNodes`?"),
        (changed(maxNodes="many"), "spec.maxNodes: "),
        (changed(minNodes=9), "minNodes 9 is above maxNodes 4"),
        (changed(fallback="none"), "spec.fallback: there is no pool `none`"),
        ({"kind": "GPUNodePool"}, "metadata: required, but missing"),
        ({"kind": "List", "items": [3]}, "items[0]: expected a mapping"),
        ([1], "expected a mapping, found [1]"),
    ],
)
def test_what_is_wrong_is_told_by_document_and_field(
    tmp_path: Path, document: object, told: str
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(SpecError) as caught:
        read_pools(file)
    assert told in caught.value.message
    assert caught.value.message.startswith(str(file))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        (None, NotFoundError, "does not exist"),
        (b"\xff", DataError, "not UTF-8"),
        (b"a: [", SpecError, "line 1"),
        (b"", SpecError, "no GPUNodePool"),
    ],
)
def test_files(tmp_path: Path, content: bytes | None, error: type[AstroError], told: str) -> None:
    file = tmp_path / "p.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=told):
        read_pools(file)
    if content is not None:
        file.write_text(yaml.safe_dump_all([POOL, POOL]))
        with pytest.raises(SpecError, match="two pools `spot`"):
            read_pools(file)
