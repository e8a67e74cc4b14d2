from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.data.account import Account
from astrosage.data.duplicates import DuplicateFilter
from astrosage.data.examine import Examiner
from astrosage.data.selection import Chosen, Selection
from astrosage.errors import SpecError
from astrosage.spec.prepare import PrepareSpec

FIELD = "spec.stages[0].prepare"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "Open.", "license": "CC BY 4.0"}\n'
        '{"text": "Closed.", "license": "All rights reserved"}\n'
        '{"text": "Silent."}\n'
        "{\n"
    )
    return tmp_path / "a.jsonl"


def choose(spec: PrepareSpec, account: Account) -> list[Chosen]:
    examiner = Examiner(spec, FIELD)
    duplicates = DuplicateFilter(spec.deduplication)
    selection = Selection(spec, FIELD, account, duplicates, examiner.cleaner)
    return [
        chosen
        for read in selection.read()
        for chosen in selection.take(read, examiner.examine(read.batch))
    ]


def run(source: dict[str, Any], **options: Any) -> tuple[list[str], Account]:
    spec = PrepareSpec.model_validate({"sources": [source], **options})
    account = Account()
    return [c.record.text for c in choose(spec, account)], account


@pytest.mark.parametrize(
    ("licenses", "given", "chosen", "refused"),
    [
        ({}, None, ["Open.", "Closed.", "Silent."], 0),
        ({"allow": ["CC-BY-4.0"]}, None, ["Open."], 2),
        ({"requireKnown": True}, None, ["Open.", "Closed."], 1),
        # What a record says comes before what is said of the source.
        ({"allow": ["CC-BY-4.0"]}, "CC-BY-4.0", ["Open.", "Silent."], 1),
    ],
)
def test_records_are_refused_by_licence_and_counted(
    texts: Path, licenses: dict[str, Any], given: str | None, chosen: list[str], refused: int
) -> None:
    source = {"path": str(texts), "license": given, "onError": "skip", "maxFailures": 0.5}
    found, account = run(source, licenses=licenses)
    assert found == chosen
    counts = account.counts()
    assert (counts["licenseRefused"], counts["unreadable"]) == (refused, 1)
    assert counts["records"] == 3
    assert sum(v["refused"] for v in account.licenses.to_dict().values()) == refused


def test_a_source_without_a_licence_stops_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"sources\[0\]: no licence is known of .*gone\.md"):
        run({"path": f"{tmp_path}/gone.md"}, licenses={"requireKnown": True})


def test_what_reading_left_out_is_in_the_account_of_its_source(texts: Path) -> None:
    _, account = run({"path": str(texts), "onError": "skip", "maxFailures": 0.5})
    (share,) = account.shares()
    assert share["reading"]["counts"] == {"failed": 1}
    assert "a.jsonl, line 4: broken JSON" in share["reading"]["examples"]["failed"][0]


def test_a_part_of_the_corpus_is_part_of_each_larger_one_and_leaves_what_is_held_out(
    tmp_path: Path,
) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("".join(f'{{"text": "Star number {i}."}}\n' for i in range(2000)))

    def of(fraction: float | None) -> tuple[set[str], set[str]]:
        spec = PrepareSpec.model_validate(
            {
                "sources": [{"path": str(file)}],
                "validation": {"fraction": 0.1},
                "fraction": fraction,
            }
        )
        account = Account()
        chosen = choose(spec, account)
        train = {c.record.text for c in chosen if c.split == "train" and c.copies}
        return train, {c.record.text for c in chosen if c.split == "validation"}

    whole, held_out = of(None)
    larger, same = of(0.3)
    smaller, also = of(0.1)
    assert smaller < larger < whole
    assert held_out == same == also
    assert len(larger) == pytest.approx(0.3 * len(whole), rel=0.15)
