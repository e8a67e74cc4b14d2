"""The year of the text that a question comes from, where its name plainly holds one."""

from __future__ import annotations

import re

# arXiv since April 2007: YYMM.NNNNN; before: archive/YYMMNNN.
_ARXIV = re.compile(r"(?:arxiv:)?(\d{2})(?:0[1-9]|1[0-2])\.\d{4,5}(?!\d)", re.IGNORECASE)
_OLD_ARXIV = re.compile(
    r"(?:arxiv:)?[a-z]+(?:-[a-z]+)?(?:\.[a-z]{2})?/(\d{2})(?:0[1-9]|1[0-2])\d{3}(?!\d)",
    re.IGNORECASE,
)
# ADS bibliographic codes: YYYYJJJJJVVVVMPPPPA, 19 characters.
_BIBCODE = re.compile(r"((?:18|19|20)\d{2})[A-Za-z&.]{5}[A-Za-z0-9.]{9}[A-Z.](?![A-Za-z0-9.])")
# Annual Review of Astronomy and Astrophysics until 2012: the volume stands in the identifier;
# volume 1 appeared in 1963. Later identifiers hold the day they were made, not the volume.
_ANNUAL_REVIEW = re.compile(r"(?:10\.1146/)?annurev\.(?:aa|astro)\.(\d{1,2})\.", re.IGNORECASE)
_FIRST_VOLUME_AFTER = 1962


def year_of(name: str) -> int | None:
    """The year that an identifier begins with; None where it is of no kind known here.

    Args:
        name: A question's id or the name of its article: an arXiv number, an ADS bibliographic
            code or an Annual Review identifier, whatever follows it.
    """
    text = name.strip()
    if found := _ANNUAL_REVIEW.match(text):
        return _FIRST_VOLUME_AFTER + int(found[1])
    if found := _BIBCODE.match(text):
        return int(found[1])
    if found := _OLD_ARXIV.match(text):
        year = int(found[1])
        return 1900 + year if year >= 91 else 2000 + year if year <= 7 else None
    if found := _ARXIV.match(text):
        year = int(found[1])
        return 2000 + year if 7 <= year < 50 else None
    return None
