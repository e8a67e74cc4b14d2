"""Characters and words that a conversion has spoilt: wrong encodings, invisible marks, hyphens."""

from __future__ import annotations

import re
from collections.abc import Callable


def _read_as_windows(byte: int) -> str:
    """The character that a byte becomes under Windows-1252; five are undefined and stay."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


_BYTE_OF = {_read_as_windows(b): b for b in range(0x80, 0x100)} | {chr(b): b for b in range(128)}
_TAIL = "[" + re.escape("".join(_read_as_windows(b) for b in range(0x80, 0xC0))) + "]"
# What UTF-8 most often becomes: accented Latin letters and signs (C2, C3), punctuation (E2),
# ligatures and byte order marks (EF), pictures (F0). Other leads stand in honest text too, such as
# É before a closing guillemet.
_MOJIBAKE = re.compile(f"[\u00c2\u00c3]{_TAIL}|[\u00e2\u00ef]{_TAIL}{{2}}|\u00f0{_TAIL}{{3}}")
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069]"
    # Joiners shape Persian, Indic scripts and pictures; between plain letters they do nothing.
    "|(?<=[\x00-\x7f])[\u200c\u200d](?=[\x00-\x7f])"
)
_CUT = re.compile(r"\b([^\W\d_]{2,})-\n[^\S\n]*([^\W\d_]{2,})(\S*)[^\S\n]*")


def mend_mojibake(text: str) -> str:
    """The text with UTF-8 that was read as Windows-1252 put right."""
    if not _MOJIBAKE.search(text):
        return text
    return _MOJIBAKE.sub(_decoded, text)


def _decoded(found: re.Match[str]) -> str:
    try:
        return bytes(_BYTE_OF[c] for c in found[0]).decode("utf-8")
    except UnicodeDecodeError:
        return found[0]


def drop_invisible(text: str) -> str:
    """The text without characters that have no width and only steer its display."""
    return _INVISIBLE.sub("", text)


def join_hyphenated(text: str) -> str:
    """Words that a line's end has cut in two, joined; the line then ends after the word.

    The hyphen stays where the document writes the word with it elsewhere, and where the second part
    begins with a capital letter.
    """
    if "-\n" not in text:
        return text
    return _CUT.sub(_joiner(text), text)


def _joiner(text: str) -> Callable[[re.Match[str]], str]:
    folded = text.casefold()

    def join(found: re.Match[str]) -> str:
        first, second, rest = found.groups()
        if not second[0].islower() or f"{first}-{second}".casefold() in folded:
            return f"{first}-{second}{rest}\n"
        return f"{first}{second}{rest}\n"

    return join
