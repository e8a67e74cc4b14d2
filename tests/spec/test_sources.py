from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from astrosage.errors import SpecError
from astrosage.spec.load import parse, with_absolute_paths
from astrosage.spec.local import local_paths
from astrosage.spec.sources import Source


def job(*sources: dict[str, Any]) -> Any:
    return parse(
        {
            "metadata": {"name": "a"},
            "spec": {
                "model": "smollm2-135m",
                "stages": [{"name": "corpus", "prepare": {"sources": list(sources)}}],
            },
        }
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arxiv": {}}, "`arxiv` belongs to `kind: arxiv`, not to `kind: auto`"),
        ({"kind": "html", "latex": {}}, "`latex` belongs to `kind: auto or latex or arxiv`"),
        ({"kind": "arxiv", "wikipedia": {}}, "`wikipedia` belongs to `kind: wikipedia`"),
        ({"kind": "text", "cnxml": {}}, "`cnxml` belongs to `kind: cnxml`"),
        ({"kind": "pdf"}, "Input should be 'auto', 'text', 'html'"),
        (
            {"kind": "arxiv", "arxiv": {"from": "2010-02-01", "to": "2010-01-01"}},
            "`from` 2010-02-01 is later than `to` 2010-01-01",
        ),
        ({"kind": "arxiv", "arxiv": {"categories": ["astro-ph"]}}, "need `metadata`"),
        ({"kind": "arxiv", "arxiv": {"exclude": {"doi": "a"}}}, "need `metadata`"),
        (
            {"kind": "arxiv", "arxiv": {"metadata": "m", "exclude": {"journalRef": ["("]}}},
            r"`\(` is no regular expression",
        ),
        ({"kind": "wikipedia", "wikipedia": {"tree": "t"}}, "`tree` needs `categories`"),
        ({"kind": "arxiv", "arxiv": {"category": []}}, "unknown field `category`"),
        ({"maxFailures": 2}, "less than or equal to 1"),
        ({"maxRecordBytes": 1}, "greater than or equal to 1024"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Source.model_validate({"path": "a", **options})


def test_the_message_names_the_field() -> None:
    with pytest.raises(SpecError, match=r"sources\[0\]\.arxiv: `categories`.* need `metadata`"):
        job({"path": "a.tar", "kind": "arxiv", "arxiv": {"categories": ["astro-ph"]}})


@pytest.mark.parametrize(
    ("options", "skips"),
    [
        ({}, False),
        ({"kind": "latex"}, False),
        ({"kind": "arxiv"}, True),
        ({"kind": "wikipedia"}, True),
        ({"kind": "arxiv", "onError": "fail"}, False),
        ({"onError": "skip"}, True),
    ],
)
def test_what_becomes_of_faults_depends_on_the_kind(options: dict[str, Any], skips: bool) -> None:
    assert Source.model_validate({"path": "a", **options}).skips is skips


def test_lists_are_local_files_too(tmp_path: Path) -> None:
    found = job(
        {
            "path": "bulk/*.tar",
            "kind": "arxiv",
            "arxiv": {
                "metadata": "s3://x/m.json",
                "categories": ["astro-ph"],
                "from": "2007-01-01",
                "exclude": {"doi": "dois.txt"},
            },
        },
        {"path": "w.xml.bz2", "kind": "wikipedia", "wikipedia": {"titles": "titles.txt"}},
        {"path": "a.md"},
    )
    placed = with_absolute_paths(found, tmp_path)
    prefix = "spec.stages[0].prepare.sources"
    assert sorted(local_paths(placed)) == [
        (f"{prefix}[0].arxiv.exclude.doi", f"{tmp_path}/dois.txt"),
        (f"{prefix}[0].path", f"{tmp_path}/bulk/*.tar"),
        (f"{prefix}[1].path", f"{tmp_path}/w.xml.bz2"),
        (f"{prefix}[1].wikipedia.titles", f"{tmp_path}/titles.txt"),
        (f"{prefix}[2].path", f"{tmp_path}/a.md"),
    ]
    assert placed.spec.stages[0].body.sources[0].arxiv.metadata == "s3://x/m.json"


def test_dates_survive_a_round_trip() -> None:
    found = Source.model_validate(
        {"path": "a", "kind": "arxiv", "arxiv": {"from": "2007-01-01", "to": "2024-12-31"}}
    )
    assert Source.model_validate(found.to_yaml_dict()) == found
    assert found.to_yaml_dict()["arxiv"]["from"] == "2007-01-01"
