from __future__ import annotations

import pytest

from astrosage.bench.years import year_of


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("2105.12345", 2021),
        ("arXiv:0704.0001v2-q3", 2007),
        ("2105.12345/4", 2021),
        ("astro-ph/9912345", 1999),
        ("astro-ph/0509123_2", 2005),
        ("hep-th/9108001", 1991),
        ("math.GT/0309136", 2003),
        ("2015ARA&A..53...51S", 2015),
        ("1998AJ....116.1009R-1", 1998),
        ("annurev.aa.25.090187.000245", 1987),
        ("10.1146/annurev.astro.41.011802.094741", 2003),
        # No year stands in these, whatever one might make of their digits.
        ("annurev-astro-081913-040025", None),
        ("1234.5678", None),
        ("0612.12345", None),
        ("q-2015", None),
        ("aqa-1999", None),
        ("2015", None),
        ("9912.12345", None),
        ("astro-ph/0905123", None),
        ("", None),
    ],
)
def test_years_are_read_and_never_guessed(name: str, year: int | None) -> None:
    assert year_of(name) == year
