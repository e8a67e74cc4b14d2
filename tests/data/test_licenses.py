from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.licenses import ARXIV, UNKNOWN, LicensePolicy, check_licenses, spdx
from astrosage.errors import SpecError
from astrosage.spec.prepare import PrepareSpec
from astrosage.spec.sources import Licenses

FIELD = "spec.stages[0].prepare"


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("http://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/4.0/deed.en", "CC-BY-NC-SA-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("http://arxiv.org/licenses/nonexclusive-distrib/1.0/", ARXIV),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International License", "CC-BY-SA-4.0"),
        ("CC0", "CC0-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("MIT", "MIT"),
        ("", UNKNOWN),
        (None, UNKNOWN),
        ("NOASSERTION", UNKNOWN),
        # What goes beyond the name is not overlooked.
        ("CC BY 4.0, figures excepted", "CC BY 4.0, figures excepted"),
    ],
)
def test_one_name_for_each_licence(stated: str | None, name: str) -> None:
    assert spdx(stated) == name


@given(st.text())
def test_a_name_stays_the_same(stated: str) -> None:
    assert spdx(spdx(stated)) == spdx(stated)


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, ["CC BY 4.0", "CC BY-NC 4.0", None]),
        ({"requireKnown": True}, ["CC BY 4.0", "CC BY-NC 4.0"]),
        ({"allow": ["CC-BY-4.0"]}, ["CC BY 4.0"]),
        ({"allow": ["http://creativecommons.org/licenses/by/4.0/"]}, ["CC BY 4.0"]),
    ],
)
def test_what_is_taken_and_counted(options: dict[str, Any], taken: list[str | None]) -> None:
    policy = LicensePolicy(Licenses.model_validate(options))
    stated = ["CC BY 4.0", "CC BY-NC 4.0", None]
    assert [s for s in stated if policy.admits(s)] == taken
    assert policy.refused.total() == 3 - len(taken)
    assert {k: v["records"] for k, v in policy.to_dict().items()} == {
        "CC-BY-4.0": 1,
        "CC-BY-NC-4.0": 1,
        UNKNOWN: 1,
    }


def spec(source: dict[str, Any], licenses: dict[str, Any]) -> PrepareSpec:
    return PrepareSpec.model_validate({"sources": [source], "licenses": licenses})


@pytest.mark.parametrize(
    ("source", "licenses", "message"),
    [
        (
            {"path": "a/*.md"},
            {"requireKnown": True},
            r"sources\[0\]: no licence is known of a/\*\.md",
        ),
        ({"path": "a", "kind": "latex"}, {"allow": ["MIT"]}, "no licence is known of a"),
        (
            {"path": "a.md", "license": "CC BY-NC 4.0"},
            {"allow": ["CC-BY-4.0", "MIT"]},
            r"sources\[0\]\.license: CC-BY-NC-4\.0 is not among .*CC-BY-4\.0, MIT",
        ),
    ],
)
def test_a_source_that_can_have_no_wanted_licence(
    source: dict[str, Any], licenses: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        check_licenses(spec(source, licenses), FIELD)


@pytest.mark.parametrize(
    ("source", "licenses"),
    [
        ({"path": "a.md"}, {}),
        ({"path": "a.md", "license": "cc by 4.0"}, {"allow": ["CC-BY-4.0"]}),
        ({"path": "a.jsonl"}, {"requireKnown": True}),
        ({"path": "a.tar", "kind": "arxiv"}, {"allow": ["CC-BY-4.0"]}),
    ],
)
def test_a_source_whose_records_may_tell(source: dict[str, Any], licenses: dict[str, Any]) -> None:
    check_licenses(spec(source, licenses), FIELD)
