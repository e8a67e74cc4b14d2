"""What holds for any run file."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.load import _OverrideLoader, apply_override, parse

# Every kind of stage and every group of fields.
FULL: dict[str, Any] = {
    "metadata": {"name": "full"},
    "spec": {
        "model": "smollm2-135m",
        "stages": [
            {
                "name": "corpus",
                "prepare": {
                    "sources": [{"path": "a.md"}],
                    "pack": {"sequenceLength": 64},
                    "decontaminate": {"ngrams": [8]},
                    "validation": {"sources": [{"path": "b.md"}]},
                },
            },
            {
                "name": "cpt",
                "train": {
                    "objective": "cpt",
                    "data": "corpus",
                    "zero": {"stage": 2},
                    "checkpoint": {"keep": 1},
                },
            },
            {
                "name": "merged",
                "merge": {"models": [{"model": "cpt"}, {"model": "smollm2-135m"}]},
            },
            {
                "name": "score",
                "bench": {
                    "model": "merged",
                    "questions": [{"path": "q.jsonl"}],
                    "heldout": [{"path": "b.md"}],
                    "generation": {"maxNewTokens": 4},
                },
            },
            {
                "name": "served",
                "bench": {
                    "endpoint": {"url": "http://127.0.0.1:8000/v1", "model": "m"},
                    "questions": [{"path": "q.jsonl"}],
                },
            },
        ],
        "cluster": {"workers": {"min": 1, "max": 2}, "resourcesPerWorker": {"cpu": 1}},
        "retry": {"maxFailures": 1},
    },
}
_FREE = {"labels", "annotations"}


def groups(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every mapping in the run file."""
    if isinstance(node, dict):
        yield path
        for key, value in node.items():
            yield from groups(value, (*path, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from groups(value, (*path, i))


def written(path: tuple[str | int, ...]) -> str:
    """A path as messages write it."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.removeprefix(".")


@pytest.mark.parametrize("path", list(groups(FULL)), ids=written)
def test_a_mistyped_field_is_refused_at_every_level(path: tuple[str | int, ...]) -> None:
    data = copy.deepcopy(FULL)
    node: Any = data
    for part in path:
        node = node[part]
    field = next(key for key in node if key not in _FREE)
    node[field + "x"] = 1
    with pytest.raises(SpecError) as caught:
        parse(data)
    expected = f"{written((*path, field + 'x'))}: unknown field; did you mean `{field}`?"
    assert expected in caught.value.message


def test_the_full_example_is_valid() -> None:
    assert parse(FULL).spec.cluster.max_workers == 2


@st.composite
def acyclic_jobs(draw: st.DrawFn) -> AstroJob:
    """Runs whose training stages start from any earlier one, written in any order."""
    count = draw(st.integers(1, 6))
    stages: list[dict[str, Any]] = [{"name": "data", "prepare": {"sources": [{"path": "x"}]}}]
    for i in range(count):
        parent = draw(st.integers(-1, i - 1))
        body = {"objective": "cpt", "data": "data"} | (
            {"model": f"t{parent}"} if i and parent >= 0 else {}
        )
        stages.append({"name": f"t{i}", "train": body})
    shuffled = draw(st.permutations(stages))
    return parse({"metadata": {"name": "g"}, "spec": {"model": "smollm2-135m", "stages": shuffled}})


@given(acyclic_jobs())
def test_order_is_topological_and_loses_nothing(job: AstroJob) -> None:
    names = [s.name for s in graph.order(job)]
    assert sorted(names) == sorted(s.name for s in job.spec.stages)
    for stage in job.spec.stages:
        for needed in graph.dependencies(job, stage):
            assert names.index(needed) < names.index(stage.name)


@given(acyclic_jobs(), st.data())
def test_what_is_needed_for_a_stage_is_complete_and_least(
    job: AstroJob, data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from(job.spec.stages)).name
    chosen = graph.select(job, until=target)
    names = {s.name for s in chosen}
    used = {n for s in chosen for n in graph.dependencies(job, s)}
    assert used | {target} == names


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


class _Dumper(yaml.SafeDumper):
    """Quotes a text that `--set` would read as a number, such as 0E0, as people must."""


_Dumper.yaml_implicit_resolvers = _OverrideLoader.yaml_implicit_resolvers


@given(_PLAIN)
@example({"0E0": "1e5"})
def test_any_value_can_be_set(value: Any) -> None:
    text = yaml.dump(value, Dumper=_Dumper)
    data = copy.deepcopy(FULL)
    apply_override(data, f"spec.stages.cpt.train.value={text}")
    assert data["spec"]["stages"][1]["train"].pop("value") == value
    assert data == FULL


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-2E+3", -2000.0),
        ("{learningRate: 1e-4}", {"learningRate": 1e-4}),
        ("'1e5'", "1e5"),
        ("nan", "nan"),
        ("infinity", "infinity"),
        ("./1e5", "./1e5"),
    ],
)
def test_numbers_are_numbers_and_quoted_text_stays_text(text: str, value: Any) -> None:
    data: dict[str, Any] = {}
    apply_override(data, f"a={text}")
    assert data == {"a": value}
    assert type(data["a"]) is type(value)
