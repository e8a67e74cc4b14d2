from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astrosage.context import StageContext
from astrosage.data.run import run
from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.runs import manifest
from astrosage.spec.load import parse

Make = Callable[..., StageContext]
NEAR = {"near": {"enabled": True, "threshold": 0.6}}


@pytest.fixture
def make(tmp_path: Path, tiny_model: Path) -> Make:
    """A context for the stage ``second``, of which ``first`` comes before."""

    def context(stage: str = "second", **stages: Any) -> StageContext:
        job = parse(
            {
                "metadata": {"name": "t"},
                "spec": {
                    "model": str(tiny_model),
                    "storage": str(tmp_path / "runs"),
                    "stages": [
                        {"name": name, "prepare": {"pack": {"sequenceLength": 64}, **body}}
                        for name, body in stages.items()
                    ],
                },
            }
        )
        uri = str(tmp_path / "runs/default/t")
        return StageContext(job.to_yaml_dict(), stage, uri, key="k")

    return context


def write(path: Path, *texts: str) -> list[dict[str, str]]:
    lines = (json.dumps({"text": t}) + "\n" for t in texts)
    path.write_text("".join(lines))
    return [{"path": str(path)}]


def words(first: int, last: int) -> str:
    return " ".join(f"word{i}" for i in range(first, last))


def counts(context: StageContext) -> dict[str, Any]:
    found: dict[str, Any] = manifest.verify(context.shards_path(context.stage_name))["report"]
    return found


def test_near_duplicates_go_across_sources_and_are_counted(make: Make, tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", words(0, 60), "Another star.")
    b = write(tmp_path / "b.jsonl", words(0, 58) + " end", words(100, 160), words(0, 60))
    context = make(second={"sources": a + b, "deduplicate": NEAR})
    run(context)
    found = counts(context)
    assert (found["records"], found["kept"]) == (5, 3)
    assert (found["duplicates"], found["nearDuplicates"]) == (1, 1)
    assert found["card"]["clusters"]["count"] == 1
    steps = {s["step"]: s["documents"] for s in found["card"]["steps"]}
    assert (steps["clean"], steps["deduplicate"], steps["sample"]) == (5, 3, 3)


def test_exact_ones_alone_stay_the_default(make: Make, tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", words(0, 60), words(0, 59) + " end")
    context = make(second={"sources": a})
    run(context)
    assert (counts(context)["kept"], counts(context)["nearDuplicates"]) == (2, 0)
    assert not (context.shards_path("second") / "signatures.npz").exists()


def test_earlier_stages_and_runs_are_left_out(make: Make, tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", words(0, 60), words(200, 260))
    b = write(tmp_path / "b.jsonl", words(0, 60), words(200, 258) + " end", words(300, 360))
    first = {"sources": a, "deduplicate": NEAR}
    against = {**NEAR, "against": ["first"]}
    run(make("first", first=first))
    context = make(first=first, second={"sources": b, "deduplicate": against})
    run(context)
    assert (counts(context)["kept"], counts(context)["earlierDuplicates"]) == (1, 2)
    file = tmp_path / "earlier.npz"
    shutil.copy(context.shards_path("first") / "signatures.npz", file)
    again = make(second={"sources": b, "deduplicate": {**NEAR, "against": [str(file)]}})
    run(again)
    assert counts(again)["earlierDuplicates"] == 2


def test_signatures_are_the_same_bytes_again(make: Make, tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", words(0, 60), words(200, 260))
    context = make(second={"sources": a, "deduplicate": NEAR})
    digests = set()
    for _ in range(2):
        run(context)
        digests.add(manifest.sha256_file(context.shards_path("second") / "signatures.npz"))
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("against", "error", "message", "hint"),
    [
        ("first", SpecError, r"against\[0\]: stage `first` keeps no signatures", "near"),
        ("firts", SpecError, r"against\[0\]: there is no stage `firts`", "`first`"),
        ("{}/gone.npz", NotFoundError, r"against\[0\]: .*gone\.npz", "relative"),
        ("{}/a.jsonl", DataError, r"\[0\]: .*a\.jsonl holds no signatures", "signatures.npz"),
        ("{}/other.npz", SpecError, "made with ngram 5, permutations 64, this stage has", "near"),
    ],
)
def test_bad_earlier_data(
    make: Make, tmp_path: Path, against: str, error: type[Exception], message: str, hint: str
) -> None:
    a = write(tmp_path / "a.jsonl", words(0, 60))
    np.savez(
        tmp_path / "other.npz",
        keys=np.zeros((0, 16), np.uint8),
        signatures=np.zeros((0, 64), np.uint32),
        ngram=np.int64(5),
    )
    run(make("first", first={"sources": a}))
    named = {**NEAR, "against": [against.format(tmp_path)]}
    with pytest.raises(error, match=message) as caught:
        run(make(first={"sources": a}, second={"sources": a, "deduplicate": named}))
    assert hint in caught.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_an_earlier_file_that_is_damaged_is_refused(
    make: Make, tmp_path: Path, damage: str
) -> None:
    a = write(tmp_path / "a.jsonl", *(words(n, n + 60) for n in range(0, 6000, 60)))
    context = make("first", first={"sources": a, "deduplicate": NEAR})
    run(context)
    whole = (context.shards_path("first") / "signatures.npz").read_bytes()
    middle = len(whole) // 2
    broken = whole[:middle] if damage == "cut" else whole[:middle] + b"?" + whole[middle + 1 :]
    (tmp_path / "earlier.npz").write_bytes(broken)
    against = {**NEAR, "against": [str(tmp_path / "earlier.npz")]}
    with pytest.raises(DataError, match=r"against\[0\]: .*earlier\.npz holds no signatures: "):
        run(make(second={"sources": a, "deduplicate": against}))
