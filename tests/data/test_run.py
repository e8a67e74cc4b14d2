from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astrosage.context import StageContext
from astrosage.data.loader import PackedDataset
from astrosage.data.run import run
from astrosage.data.tokenise import load_tokenizer
from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.runs import manifest, metrics
from astrosage.spec.load import parse
from tests.data import preparing
from tests.tiny import TEXT

Make = Callable[..., StageContext]
STEM = "Why is the sky dark?"


@pytest.fixture
def make(tmp_path: Path, tiny_model: Path) -> Make:
    """A context for a prepare stage with these options, beside a bench stage if asked for."""

    def context(*, bench: str | None = None, model: Path = tiny_model, **prepare: Any) -> Any:
        body = {"pack": {"sequenceLength": 64}, **prepare}
        stages: list[dict[str, Any]] = [{"name": "corpus", "prepare": body}]
        if bench is not None:
            stages.append(
                {"name": "score", "bench": {"model": str(model), "questions": [{"path": bench}]}}
            )
        job = parse(
            {
                "metadata": {"name": "t"},
                "spec": {
                    "model": str(model),
                    "storage": str(tmp_path / "runs"),
                    "stages": stages,
                },
            }
        )
        return StageContext(
            job_data=job.to_yaml_dict(),
            stage_name="corpus",
            run_uri=str(tmp_path / "runs/default/t"),
            key="k",
        )

    return context


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, text in enumerate(TEXT):
        (folder / f"{i}.md").write_text(f"# Article {i}\n\n{text}\n\n{text[::-1]}\n")
    return folder


@pytest.fixture
def quiz(tmp_path: Path) -> str:
    file = tmp_path / "quiz.jsonl"
    question = {"id": "q1", "question": STEM, "choices": ["It is not", "Light is late"]}
    file.write_text(json.dumps(question | {"answer": "B", "explanation": "It is late."}) + "\n")
    return str(file)


def write_jsonl(path: Path, *records: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(path)


def shards(context: StageContext) -> Path:
    return context.shards_path("corpus")


def decoded(context: StageContext, split: str) -> dict[str, str]:
    """Each document's text, its end token left out, by its id."""
    data = PackedDataset(shards(context), split)
    tokenizer = load_tokenizer(context.model_path(None))
    batch = data.rows(range(len(data)))
    pieces: dict[str, list[tuple[int, list[int]]]] = {}
    lines = map(json.loads, (shards(context) / "documents.jsonl").read_text().splitlines())
    for line in (x for x in lines if x["split"] == split):
        for segment, document in enumerate(line["documents"], 1):
            here = batch.segments[line["row"]] == segment
            ids = batch.tokens[line["row"]][here].tolist()
            pieces.setdefault(document["id"], []).append((document["part"], ids))
    return {
        name: tokenizer.decode([t for _, ids in sorted(parts) for t in ids][:-1])
        for name, parts in pieces.items()
    }


def test_texts_end_to_end(make: Make, texts: Path) -> None:
    context = make(sources=[{"path": f"{texts}/*.md", "license": "CC-BY-4.0"}])
    run(context)
    folder = shards(context)
    found = manifest.verify(folder, full=True)
    assert found["key"] == "k"
    assert (found["sequenceLength"], found["format"]) == (64, "text")
    assert (found["documentEndId"], found["padId"]) == (0, 2)
    assert found["vocabSize"] == len(load_tokenizer(context.model_path(None)))
    assert [Path(s["path"]).name for s in found["sources"]] == ["0.md", "1.md", "2.md", "3.md"]
    assert found["sources"][0]["sha256"] == manifest.sha256_file(texts / "0.md")
    assert found["sources"][0]["license"] == "CC-BY-4.0"
    assert decoded(context, "train") == {p.name: p.read_text().strip() for p in texts.iterdir()}

    data = PackedDataset(folder, "train")
    batch = data.rows(range(len(data)))
    train = found["splits"]["train"]
    assert train["documents"] == 4
    assert train["sequences"] == len(data)
    assert train["tokens"] == int((batch.segments > 0).sum())
    assert train["learnedTokens"] == int(batch.mask.sum())
    pieces = len({(r, s) for r, row in enumerate(batch.segments) for s in row if s})
    assert train["learnedTokens"] == train["tokens"] - pieces
    assert found["report"]["padding"]["train"] == pytest.approx(
        1 - train["tokens"] / (64 * train["sequences"]), abs=1e-6
    )
    last = metrics.last(context.directory.storage)
    assert last is not None
    assert (last["step"], last["total"], last["unit"]) == (4, 4, "documents")
    assert last["tokens"] == train["tokens"]


def test_chats_end_to_end(make: Make, tmp_path: Path) -> None:
    def chat(*contents: str) -> dict[str, Any]:
        roles = ("user", "assistant") * len(contents)
        pairs = zip(roles, contents, strict=False)
        return {"messages": [{"role": r, "content": c} for r, c in pairs]}

    chats = [
        chat("What is a star?", "A ball of hot gas."),
        chat("And a planet?", "It moves around a star.", "Which?", "The Sun, for ours."),
        chat("Long?", "Yes.", "Longer?", "word " * 60),
        chat("Too long at once?", "word " * 60),
    ]
    context = make(format="chat", sources=[{"path": write_jsonl(tmp_path / "c.jsonl", *chats)}])
    run(context)
    data = PackedDataset(shards(context), "train")
    batch = data.rows(range(len(data)))
    tokenizer = load_tokenizer(context.model_path(None))
    learnt = []
    for tokens, mask, segments in zip(batch.tokens, batch.mask, batch.segments, strict=True):
        ends = np.flatnonzero(np.diff(np.concatenate([[0], mask, [0]])))
        learnt += [tokenizer.decode(tokens[a:b]) for a, b in ends.reshape(-1, 2)]
        assert not mask[segments == 0].any()
    assert sorted(learnt) == sorted(
        f"{answer}<|im_end|>"
        for answer in (
            "A ball of hot gas.",
            "It moves around a star.",
            "The Sun, for ours.",
            "Yes.",
        )
    )
    report = manifest.verify(shards(context))["report"]
    assert (report["records"], report["kept"]) == (4, 3)
    assert (report["overLongCut"], report["overLongDropped"]) == (1, 1)


def test_the_same_input_gives_the_same_bytes(make: Make, texts: Path) -> None:
    context = make(sources=[{"path": f"{texts}/*.md", "weight": 1.5}], seed=3)
    digests = []
    for _ in range(2):
        run(context)
        digests.append(manifest.content_digest(manifest.verify(shards(context))))
    assert digests[0] == digests[1]
    assert len(metrics.read(context.directory.storage)) == 2


def test_questions_of_bench_stages_are_kept_out(make: Make, texts: Path, quiz: str) -> None:
    (texts / "bad.md").write_text(f"# Good\n\nFine words.\n\nOne asks: {STEM}\n\nMore fine words.")
    (texts / "worse.md").write_text(f"Only {STEM.upper()}")
    context = make(sources=[{"path": f"{texts}/*.md"}], bench=quiz)
    run(context)
    found = decoded(context, "train")
    assert found["bad.md"] == "# Good\n\nFine words.\n\nMore fine words."
    assert "worse.md" not in found
    short = manifest.verify(shards(context))["report"]
    assert short["documentsWithContamination"] == short["contaminatedParagraphs"] == 2
    assert short["contaminatedRecords"] == 1
    report = json.loads((shards(context) / "report.json").read_text())
    assert [(h["document"], h["question"], h["words"]) for h in report["hits"]] == [
        ("bad.md", "q1", "why is the sky dark"),
        ("worse.md", "q1", "why is the sky dark"),
    ]
    assert report["questions"] == [
        {"path": quiz, "sha256": manifest.sha256_file(Path(quiz)), "questions": 1}
    ]


def test_action_fail_and_questions_named_by_the_stage(make: Make, texts: Path, quiz: str) -> None:
    (texts / "bad.md").write_text(STEM)
    options = {"against": [quiz], "action": "fail"}
    context = make(sources=[{"path": f"{texts}/*.md"}], decontaminate=options)
    with pytest.raises(DataError, match=r"bad\.md, line 1: holds evaluation question `q1`"):
        run(context)
    assert not shards(context).exists()


def test_a_chat_with_a_question_stops_the_stage(make: Make, tmp_path: Path, quiz: str) -> None:
    messages = [{"role": "user", "content": STEM}, {"role": "assistant", "content": "Late."}]
    path = write_jsonl(tmp_path / "c.jsonl", {"messages": messages})
    with pytest.raises(DataError, match=r"c\.jsonl, line 1: holds evaluation question `q1`"):
        run(make(format="chat", sources=[{"path": path}], bench=quiz))


def test_an_unreadable_question_file_is_never_skipped(make: Make, texts: Path) -> None:
    options = {"against": [f"{texts}/gone.jsonl"]}
    with pytest.raises((NotFoundError, DataError), match=r"gone\.jsonl"):
        run(make(sources=[{"path": f"{texts}/*.md"}], decontaminate=options))


def test_switched_off_means_off(make: Make, texts: Path, quiz: str) -> None:
    (texts / "bad.md").write_text(STEM)
    context = make(
        sources=[{"path": f"{texts}/*.md"}], bench=quiz, decontaminate={"enabled": False}
    )
    run(context)
    assert decoded(context, "train")["bad.md"] == STEM
    report = json.loads((shards(context) / "report.json").read_text())
    assert report["spec"]["decontaminate"]["enabled"] is False


def numbered(path: Path, count: int, start: int = 0) -> str:
    return write_jsonl(
        path, *({"id": i, "text": f"Star number {i} shines."} for i in range(start, start + count))
    )


def test_weights_repeat_and_halve(make: Make, tmp_path: Path) -> None:
    context = make(
        sources=[
            {"path": numbered(tmp_path / "a.jsonl", 100), "weight": 2},
            {"path": numbered(tmp_path / "b.jsonl", 100, 100), "weight": 0.5},
        ]
    )
    run(context)
    data = PackedDataset(shards(context), "train")
    ids = [int(i) for row in range(len(data)) for i in data.document_ids(row)]
    assert all(ids.count(i) == 2 for i in range(100))
    halved = [ids.count(i) for i in range(100, 200)]
    assert set(halved) == {0, 1}
    assert 35 <= sum(halved) <= 65
    report = manifest.verify(shards(context))["report"]
    assert report["notSampled"] == 100 - sum(halved)
    first, second = report["shares"]
    assert first["kept"] == 100
    assert first["trainTokens"] + second["trainTokens"] == train_tokens(context)
    assert first["trainShare"] == pytest.approx(200 / (200 + sum(halved)), abs=0.02)


def train_tokens(context: StageContext) -> int:
    return int(manifest.verify(shards(context))["splits"]["train"]["tokens"])


def test_a_part_of_the_corpus_leaves_the_rest_unsampled(make: Make, tmp_path: Path) -> None:
    context = make(sources=[{"path": numbered(tmp_path / "a.jsonl", 200)}], fraction=0.3)
    run(context)
    report = manifest.verify(shards(context))["report"]
    assert 40 <= report["kept"] <= 80
    assert report["notSampled"] == 200 - report["kept"]
    steps = {s["step"]: s["documents"] for s in report["card"]["steps"]}
    assert (steps["decontaminate"], steps["sample"]) == (200, report["kept"])


def test_duplicates_are_dropped_unless_wanted(make: Make, tmp_path: Path) -> None:
    same = [{"text": "A star shines."}, {"text": " a STAR\nshines."}, {"text": "Another."}]
    source = [{"path": write_jsonl(tmp_path / "a.jsonl", *same, {"text": " \n"})}]
    for deduplicate, documents in ((True, 2), (False, 3)):
        context = make(sources=source, deduplicate=deduplicate)
        run(context)
        found = manifest.verify(shards(context))
        assert found["splits"]["train"]["documents"] == documents
        assert found["report"]["duplicates"] == 3 - documents
        assert found["report"]["empty"] == 1


def test_validation_sources_are_never_trained_on(make: Make, tmp_path: Path) -> None:
    context = make(
        sources=[{"path": numbered(tmp_path / "a.jsonl", 20)}],
        validation={"sources": [{"path": numbered(tmp_path / "v.jsonl", 10, 15)}]},
        deduplicate=False,
    )
    run(context)
    train, validation = decoded(context, "train"), decoded(context, "validation")
    assert set(train) == {str(i) for i in range(15)}
    assert set(validation) == {str(i) for i in range(15, 25)}
    assert manifest.verify(shards(context))["report"]["heldOutDuplicates"] == 5


def test_a_fraction_is_held_out_and_stays_when_data_is_added(make: Make, tmp_path: Path) -> None:
    held = []
    for count in (100, 150):
        context = make(
            sources=[{"path": numbered(tmp_path / "a.jsonl", count)}],
            validation={"fraction": 0.2},
        )
        run(context)
        train, validation = set(decoded(context, "train")), set(decoded(context, "validation"))
        assert not train & validation
        assert len(train | validation) == count
        held.append({i for i in validation if int(i) < 100})
    assert held[0] == held[1]
    assert 8 <= len(held[0]) <= 35


def test_validation_rows_are_of_one_source_each(make: Make, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = (
        numbered(tmp_path / "a" / "x.jsonl", 60),
        numbered(tmp_path / "b" / "x.jsonl", 60, 60),
    )
    held = write_jsonl(tmp_path / "v.jsonl", *({"id": f"v{i}", "text": TEXT[i]} for i in range(4)))
    context = make(
        sources=[{"path": first}, {"path": second, "weight": 2}],
        validation={"sources": [{"path": held}], "fraction": 0.2},
    )
    run(context)
    found = manifest.verify(shards(context))
    stated = found["splits"]["validation"]["sources"]
    assert [(s["name"], s["path"]) for s in stated] == [
        ("v.jsonl", held),
        ("a/x.jsonl", first),
        ("b/x.jsonl", second),
    ]
    assert "sources" not in found["splits"]["train"]
    data = PackedDataset(shards(context), "validation")
    assert data.sources == [(s["name"], range(s["first"], s["first"] + s["count"])) for s in stated]
    lines = map(json.loads, (shards(context) / "documents.jsonl").read_text().splitlines())
    held_out = {x["row"]: x["documents"] for x in lines if x["split"] == "validation"}
    for source, (_, rows) in zip(stated, data.sources, strict=True):
        documents = [d for row in rows for d in held_out[row]]
        assert {d["source"] for d in documents} == {source["path"]}
        assert sum(d["tokens"] for d in documents) == source["tokens"]
        assert int(data.rows(rows).mask.sum()) == source["learnedTokens"]
    shares = {s["path"]: s["validationTokens"] for s in found["report"]["shares"]}
    assert shares == {s["path"]: s["tokens"] for s in stated}


def test_nothing_left_to_train_on(make: Make, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"text": "\n"}, {"text": ""})
    context = make(sources=[{"path": path}])
    with pytest.raises(DataError, match=r"nothing is left .*\(2 records read, empty 2\)") as caught:
        run(context)
    assert caught.value.message.startswith("spec.stages[0].prepare: ")
    assert not shards(context).exists()


def test_a_fraction_that_holds_nothing_out(make: Make, texts: Path) -> None:
    context = make(sources=[{"path": f"{texts}/*.md"}], validation={"fraction": 1e-6})
    with pytest.raises(DataError, match=r"prepare\.validation: no record is held out"):
        run(context)


def test_sequence_length_over_the_models(make: Make, texts: Path) -> None:
    context = make(sources=[{"path": f"{texts}/*.md"}], pack={"sequenceLength": 512})
    with pytest.raises(SpecError, match=r"prepare\.pack\.sequenceLength: 512 is over .* 256"):
        run(context)


def test_a_bad_record_leaves_an_earlier_artefact_alone(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    context = make(sources=[{"path": numbered(file, 3)}])
    run(context)
    before = manifest.verify(shards(context), full=True)
    file.write_text(file.read_text() + "{")
    with pytest.raises(DataError, match=r"a\.jsonl, line 4: broken JSON"):
        run(context)
    assert manifest.verify(shards(context), full=True) == before
    assert sorted(p.name for p in shards(context).parent.iterdir()) == ["metrics.jsonl", "shards"]


def test_the_stages_own_model_is_used(make: Make, texts: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(make(sources=[{"path": "x"}]).model_path(None), tmp_path / "m"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 32}))
    with pytest.raises(SpecError, match="max_position_embeddings, 32"):
        run(make(sources=[{"path": f"{texts}/*.md"}], model=other))


def test_too_many_papers_that_cannot_be_read_end_the_stage(
    tmp_path: Path, tiny_model: Path
) -> None:
    context = preparing.context(tmp_path, tiny_model, "stored")
    run(context)
    report = json.loads((context.shards_path("corpus") / "report.json").read_text())
    papers = report["shares"][0]
    assert papers["reading"]["counts"]["failed"] == 3
    assert report["unreadable"] == 5  # two pages, too
    assert papers["records"] == 97
    assert len(papers["reading"]["examples"]["failed"]) == 3

    context.job_data["spec"]["stages"][0]["prepare"]["sources"][0]["maxFailures"] = 0.02
    again = replace(context, key="other")
    with pytest.raises(
        DataError, match=r"sources\[0\]: 3 of 100 records .* `maxFailures` 0\.02: .*papers0\.tar"
    ):
        run(again)
    context.job_data["spec"]["stages"][0]["prepare"]["sources"][0]["onError"] = "fail"
    with pytest.raises(DataError, match=r"papers0\.tar:070/0700\.0031\.gz"):
        run(replace(context, key="third"))
