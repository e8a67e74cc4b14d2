"""One spelling for what means the same: Unicode NFC, newlines, trailing white space, controls."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from astrosage.data.records import Record

_NEWLINES = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# Controls, byte order marks, halves of surrogate pairs and non-characters: no text, and the last
# two cannot be encoded or do not survive a round trip.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ud800-\udfff\ufffe\uffff]")
_TRAILING = re.compile(r"[^\S\n]+$", re.MULTILINE)


def clean_text(text: str) -> str:
    """The text in NFC, lines ended by ``\\n`` without trailing white space, no control characters.

    Cleaning what is clean changes nothing.
    """
    text = _CONTROLS.sub("", _NEWLINES.sub("\n", text))
    return _TRAILING.sub("", unicodedata.normalize("NFC", text)).strip("\n")


def clean(record: Record) -> Record:
    """The record with every text cleaned; messages also lose leading white space.

    White space around a message would melt into the template's own newlines, and the border
    between prompt and answer would fall inside a token.
    """
    messages = tuple({**m, "content": clean_text(m["content"]).strip()} for m in record.messages)
    return replace(record, text=clean_text(record.text), messages=messages)
