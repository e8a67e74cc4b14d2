from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.errors import AstroError, CapacityError, DataError, NotFoundError, SpecError
from astrosage.plan import preflight
from astrosage.plan.machine import Machine
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse

MACHINE = Machine(cpus=4, gpus=0, memory=8 * 2**30)
GOOD_CHAT = {
    "messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]
}
QUESTION = {"id": "q1", "question": "What?", "choices": ["a", "b", "c", "d"], "answer": "C"}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def make(folder: Path, model: Path | str, **changes: Any) -> AstroJob:
    """A whole job whose data exist; ``changes`` replace parts of its spec."""
    (folder / "a.md").write_text("A star is a ball of gas.")
    write(folder / "chat.jsonl", GOOD_CHAT)
    write(folder / "quiz.jsonl", QUESTION)
    stages: dict[str, dict[str, Any]] = {
        "corpus": {
            "prepare": {"sources": [{"path": f"{folder}/*.md"}], "pack": {"sequenceLength": 64}}
        },
        "cpt": {"train": {"objective": "cpt", "data": "corpus", "globalBatchSize": 8}},
        "chat": {
            "prepare": {
                "format": "chat",
                "sources": [{"path": f"{folder}/chat.jsonl"}],
                "pack": {"sequenceLength": 64},
            }
        },
        "sft": {"train": {"objective": "sft", "data": "chat", "model": "cpt"}},
        "score": {"bench": {"model": "sft", "questions": [{"path": f"{folder}/quiz.jsonl"}]}},
    }
    cluster = changes.pop("cluster", {})
    for name, change in changes.items():
        kind = next(iter(stages[name]))
        stages[name] = {kind: stages[name][kind] | change}
    return parse(
        {
            "metadata": {"name": "run"},
            "spec": {
                "model": str(model),
                "storage": str(folder / "runs"),
                "stages": [{"name": n, **body} for n, body in stages.items()],
                "cluster": cluster,
            },
        }
    )


def check(job: AstroJob, machine: Machine | None = MACHINE) -> list[str]:
    return preflight.check(job, graph.order(job), machine=machine)


def refused(job: AstroJob, family: type[AstroError], *named: str) -> AstroError:
    with pytest.raises(family) as caught:
        check(job)
    for text in named:
        assert text in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_good_job_passes_without_warnings_and_leaves_nothing(
    tmp_path: Path, tiny_model: Path
) -> None:
    job = make(tmp_path, tiny_model)
    before = sorted(tmp_path.iterdir())
    assert check(job) == []
    assert sorted(tmp_path.iterdir()) == before


def test_decontamination_that_is_off_is_warned_of(tmp_path: Path, tiny_model: Path) -> None:
    (warning,) = check(make(tmp_path, tiny_model, corpus={"decontaminate": {"enabled": False}}))
    assert "spec.stages[0].prepare.decontaminate" in warning


def test_a_key_that_this_shell_does_not_have_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md").write_text("Stars shine.")
    service = {"url": "https://api.example.org/v1", "model": "m", "apiKeyEnv": "WRITER_KEY"}
    made = {
        "sources": [{"path": str(tmp_path / "a.md")}],
        "writer": service,
        "grader": {**service, "model": "n"},
        "budget": {"tokens": 1000},
    }
    spec = {
        "model": "m",
        "storage": str(tmp_path / "runs"),
        "stages": [{"name": "qa", "generate": made}],
    }
    job = parse({"metadata": {"name": "r"}, "spec": spec})
    monkeypatch.delenv("WRITER_KEY", raising=False)
    told = preflight.check(job, job.spec.stages, machine=Machine.here())
    assert [w for w in told if "WRITER_KEY, which is not set in this shell" in w] == told[-1:]
    assert not [w for w in preflight.check(job, job.spec.stages) if "WRITER_KEY" in w]
    monkeypatch.setenv("WRITER_KEY", "secret")
    told = preflight.check(job, job.spec.stages, machine=Machine.here())
    assert not [w for w in told if "WRITER_KEY" in w or "secret" in w]


def test_batch_size_that_workers_do_not_divide(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, cluster={"workers": 3})
    refused(job, SpecError, "spec.stages[1].train.globalBatchSize: 8", "3 workers", "6 or 9")


def test_batch_size_that_micro_batches_do_not_divide(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, cluster={"workers": 2}, cpt={"microBatchSize": 3})
    refused(job, SpecError, "globalBatchSize: 8", "2 workers x microBatchSize 3 = 6", "6 or 12")


@given(
    size=st.integers(1, 200),
    workers=st.integers(1, 16),
    micro=st.none() | st.integers(1, 16),
)
def test_every_suggested_batch_size_is_valid(size: int, workers: int, micro: int | None) -> None:
    train = {"objective": "cpt", "data": "d", "globalBatchSize": size, "microBatchSize": micro}
    job = parse(
        {
            "metadata": {"name": "x"},
            "spec": {
                "model": "smollm2-135m",
                "stages": [
                    {"name": "d", "prepare": {"sources": [{"path": "x"}]}},
                    {"name": "t", "train": {k: v for k, v in train.items() if v is not None}},
                ],
                "cluster": {"workers": workers},
            },
        }
    )
    divisor = workers * (micro or 1)
    try:
        preflight.check_batches(job, job.stage("t"))
    except SpecError as error:
        assert size % divisor
        values = [int(w) for w in error.hint.split(": ")[1].split(" or ")]
        assert all(v > 0 and v % divisor == 0 and abs(v - size) < divisor for v in values)
    else:
        assert size % divisor == 0


def test_more_workers_than_the_machine_has(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, cluster={"workers": 8})
    error = refused(job, CapacityError, "spec.cluster.workers: 8", "has 4", "workers=4")
    assert error.exit_code == 5
    assert check(job, machine=None) == []


def test_gpus_that_are_not_there(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, cluster={"resourcesPerWorker": {"gpu": 1}})
    refused(job, CapacityError, "1 gpu", "has 0", "resourcesPerWorker.gpu")


def test_memory_that_is_not_there(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, cluster={"resourcesPerWorker": {"memory": "9Gi"}})
    refused(job, CapacityError, "memory", "9Gi", "8.0Gi")


def test_elastic_workers_need_only_their_minimum(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, cluster={"workers": {"min": 2, "max": 8}})
    (warning,) = check(job)
    assert "workers.max: 8" in warning


def test_sequence_length_over_the_models(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, corpus={"pack": {"sequenceLength": 257}})
    refused(job, SpecError, "spec.stages[0].prepare.pack.sequenceLength: 257", "256")


def test_length_is_checked_against_the_base_behind_a_stage(
    tmp_path: Path, tiny_model: Path
) -> None:
    job = make(tmp_path, tiny_model, chat={"model": "cpt", "pack": {"sequenceLength": 300}})
    refused(job, SpecError, "spec.stages[2].prepare.pack.sequenceLength: 300", "256")
    assert preflight.base_of(job, "sft") == str(tiny_model)


def test_sft_on_plain_text(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, sft={"data": "corpus"})
    refused(job, SpecError, "spec.stages[3].train.objective", "corpus", "format: chat")


def test_model_directory_without_weights_or_tokenizer(tmp_path: Path, tiny_model: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    refused(make(tmp_path, broken), NotFoundError, "no safetensors weights")
    (broken / "model.safetensors").write_bytes(b"")
    refused(make(tmp_path, broken), NotFoundError, "no tokenizer")


def test_only_the_stages_that_run_are_checked(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, score={"baseline": "./missing"})
    refused(job, NotFoundError, "spec.stages[4].bench.baseline")
    assert preflight.check(job, [job.stage("corpus")], machine=MACHINE) == []


def test_trackers_must_be_usable_where_training_runs(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make(tmp_path, tiny_model, sft={"tracking": ["mlflow"]})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    refused(job, SpecError, "spec.stages[3].train.tracking: `mlflow`")
    check(job, machine=None)  # the cluster has an environment of its own
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    check(job)


def test_question_files_are_read_before_data_are_prepared(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model)
    (tmp_path / "quiz.jsonl").write_text('{"id": "q1"}\n')
    with pytest.raises(DataError, match=r"quiz.jsonl"):
        preflight.check(job, [job.stage("corpus")], machine=MACHINE)


TRUNCATED = gzip.compress(json.dumps(GOOD_CHAT).encode() * 50)[:-20]
BROKEN = {
    "empty": (b"", ["chat.jsonl"]),
    "not UTF-8": (b'{"messages": "\xff"}\n', ["chat.jsonl"]),
    "broken line": (json.dumps(GOOD_CHAT).encode() + b'\n{"messages": [\n', ["chat.jsonl", "2"]),
    "missing field": (b'{"text": "x"}\n', ["chat.jsonl", "messages"]),
    "no assistant": (b'{"messages": [{"role": "user", "content": "x"}]}\n', ["assistant"]),
}


@pytest.mark.parametrize(("content", "named"), BROKEN.values(), ids=BROKEN)
def test_data_that_cannot_be_used(
    content: bytes, named: list[str], tmp_path: Path, tiny_model: Path
) -> None:
    job = make(tmp_path, tiny_model)
    (tmp_path / "chat.jsonl").write_bytes(content)
    error = refused(job, DataError, *named)
    assert error.exit_code == 6


def test_truncated_gzip(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, chat={"sources": [{"path": f"{tmp_path}/c.jsonl.gz"}]})
    (tmp_path / "c.jsonl.gz").write_bytes(TRUNCATED)
    refused(job, DataError, "c.jsonl.gz")


def test_missing_file(tmp_path: Path, tiny_model: Path) -> None:
    job = make(tmp_path, tiny_model, chat={"sources": [{"path": f"{tmp_path}/none.jsonl"}]})
    refused(job, NotFoundError, "spec.stages[2].prepare.sources[0]", "none.jsonl")


@pytest.mark.parametrize(
    ("against", "error", "named"),
    [
        ("corpus", SpecError, "stage `corpus` keeps no signatures"),
        ("{}/quiz.jsonl", DataError, "quiz.jsonl holds no signatures"),
        ("{}/gone.npz", NotFoundError, "gone.npz"),
        ("{}/other.npz", SpecError, "ngram 5, permutations 64"),
    ],
)
def test_earlier_data_that_cannot_be_compared_with_is_told_before_anything_starts(
    tmp_path: Path, tiny_model: Path, against: str, error: type[AstroError], named: str
) -> None:
    np.savez(
        tmp_path / "other.npz",
        keys=np.zeros((0, 16), np.uint8),
        signatures=np.zeros((0, 64), np.uint32),
        ngram=np.int64(5),
    )
    near = {"enabled": True}
    options = {"near": near, "against": [against.format(tmp_path)]}
    job = make(tmp_path, tiny_model, chat={"deduplicate": options})
    refused(job, error, "spec.stages[2].prepare.deduplicate.against[0]", named)
    fits = options | {"near": near | {"permutations": 64}, "against": [f"{tmp_path}/other.npz"]}
    check(make(tmp_path, tiny_model, chat={"deduplicate": fits}))


def test_a_stage_that_will_keep_other_signatures(tmp_path: Path, tiny_model: Path) -> None:
    def job(ngram: int) -> AstroJob:
        near = {"enabled": True, "ngram": ngram}
        return make(
            tmp_path,
            tiny_model,
            corpus={"deduplicate": {"near": {"enabled": True}}},
            chat={"deduplicate": {"near": near, "against": ["corpus"]}},
        )

    check(job(5))
    refused(job(4), SpecError, "stage `corpus` was made with ngram 5", "this stage has ngram 4")


def test_data_elsewhere_is_not_read_from_here_for_a_cluster(
    tmp_path: Path, tiny_model: Path
) -> None:
    job = make(tmp_path, tiny_model, chat={"sources": [{"path": "s3://no-such-bucket/x.jsonl"}]})
    assert preflight.check(job, job.spec.stages, storage=False, remote=False) == []


def test_this_machine_has_something() -> None:
    machine = Machine.here()
    assert machine.cpus >= 1
    assert machine.memory > 2**28
    assert machine.gpus >= 0
