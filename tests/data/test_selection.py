from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astrosage.data.account import Account
from astrosage.data.selection import choose
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


def run(source: dict[str, Any], **options: Any) -> tuple[list[str], Account]:
    spec = PrepareSpec.model_validate({"sources": [source], **options})
    account = Account()
    return [c.record.text for c in choose(spec, FIELD, None, account)], account


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
