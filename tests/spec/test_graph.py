from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse


def prepare(name: str) -> dict[str, Any]:
    return {"name": name, "prepare": {"sources": [{"path": "x.md"}]}}


def train(name: str, data: str, model: str | None = None) -> dict[str, Any]:
    body = {"objective": "cpt", "data": data, **({"model": model} if model else {})}
    return {"name": name, "train": body}


def bench(name: str, model: str, baseline: str | None = None) -> dict[str, Any]:
    body = {"model": model, "questions": [{"path": "q.jsonl"}]}
    return {"name": name, "bench": {**body, **({"baseline": baseline} if baseline else {})}}


def job(*stages: dict[str, Any]) -> AstroJob:
    return parse(
        {"metadata": {"name": "g"}, "spec": {"model": "smollm2-135m", "stages": list(stages)}}
    )


WHOLE = (
    bench("score", "sft", "cpt"),
    train("sft", "chat", "cpt"),
    train("cpt", "corpus"),
    prepare("corpus"),
    prepare("chat"),
    bench("before", "smollm2-135m"),
    prepare("unused"),
)


def names(stages: list[Any]) -> list[str]:
    return [s.name for s in stages]


def test_order_puts_inputs_first() -> None:
    ordered = names(graph.order(job(*WHOLE)))
    for first, second in (("corpus", "cpt"), ("chat", "sft"), ("cpt", "sft"), ("sft", "score")):
        assert ordered.index(first) < ordered.index(second)


@given(st.permutations(range(len(WHOLE))))
def test_the_order_in_the_file_does_not_matter_for_what_runs(order: list[int]) -> None:
    found = graph.select(job(*(WHOLE[i] for i in order)), "train")
    assert set(names(found)) == {"corpus", "chat", "cpt", "sft", "score", "before"}
    assert names(found).index("cpt") < names(found).index("sft") < names(found).index("score")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "prepare"}, {"corpus", "chat", "unused"}),
        ({"kind": "bench"}, {"corpus", "chat", "cpt", "sft", "score", "before"}),
        ({"until": "cpt"}, {"corpus", "cpt"}),
        ({"only": "sft"}, {"sft"}),
    ],
)
def test_selection(options: dict[str, str], expected: set[str]) -> None:
    assert set(names(graph.select(job(*WHOLE), **options))) == expected


def test_selection_of_what_is_not_there() -> None:
    with pytest.raises(SpecError, match="--until: the run file has no stage `cptt`") as caught:
        graph.select(job(*WHOLE), until="cptt")
    assert "did you mean `cpt`" in caught.value.hint
    with pytest.raises(SpecError, match="no train stage"):
        graph.select(job(prepare("corpus"), bench("score", "smollm2-135m")), "train")


@pytest.mark.parametrize(
    ("stages", "words", "hint"),
    [
        ([prepare("a"), prepare("a")], "the name `a` is taken", ""),
        ([prepare("corpus"), train("t", "corpse")], r"stages\[1\].train.data.*`corpse`", "corpus"),
        ([prepare("corpus"), train("cpt", "corpus"), bench("s", "cptt")], "bench.model", "`cpt`"),
        ([prepare("corpus"), train("t", "corpus", "corpus")], "is a prepare stage", ""),
        ([prepare("corpus"), train("t", "corpus"), train("u", "t")], "is a train stage", "corpus"),
        ([prepare("corpus"), train("t", "corpus", "t")], "names itself", ""),
        ([train("t", "nowhere")], "there is no stage `nowhere`", "none"),
    ],
)
def test_references_that_lead_nowhere(stages: list[Any], words: str, hint: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        job(*stages)
    assert hint in caught.value.hint


def test_a_circle_is_told_in_order() -> None:
    with pytest.raises(SpecError, match="in a circle: ") as caught:
        job(prepare("d"), train("a", "d", "c"), train("b", "d", "a"), train("c", "d", "b"))
    for name in "abc":
        assert name in caught.value.message


def test_external_models_are_named_once_with_their_field() -> None:
    found = graph.external_models(job(*WHOLE), job(*WHOLE).spec.stages)
    assert [value for _, value in found] == ["smollm2-135m"]
    assert [field for field, _ in found] == ["spec.model"]
