"""Finding one's way in TeX source: groups, optional arguments, spaces."""

from __future__ import annotations

import re

_BRACES = re.compile(r"\\.|%[^\n]*|[{}]", re.DOTALL)
_BRACKETS = re.compile(r"\\.|%[^\n]*|[{}\]]", re.DOTALL)
# A blank line ends a paragraph, so it is not skipped over.
_SPACE = re.compile(r"[ \t]*(?:\n(?![ \t]*\n))?[ \t]*")
TOKEN = re.compile(r"\\(?:[a-zA-Z@]+|.)|.", re.DOTALL)
"""A command or a character."""


def skip_space(text: str, pos: int) -> int:
    """Where the spaces at ``pos`` end; at most one line end is skipped."""
    found = _SPACE.match(text, pos)
    return found.end() if found else pos


def group_end(text: str, pos: int) -> int:
    """The place after the ``}`` that closes the ``{`` at ``pos``; -1 where none does."""
    depth = 0
    for found in _BRACES.finditer(text, pos):
        if found.group() == "{":
            depth += 1
        elif found.group() == "}":
            depth -= 1
            if depth == 0:
                return found.end()
    return -1


def bracket_end(text: str, pos: int) -> int:
    """The place after the ``]`` that closes the ``[`` at ``pos``; -1 where none does."""
    depth = 0
    for found in _BRACKETS.finditer(text, pos + 1):
        if found.group() == "{":
            depth += 1
        elif found.group() == "}":
            depth -= 1
            if depth < 0:
                return -1
        elif found.group() == "]" and depth == 0:
            return found.end()
    return -1


def environment_end(text: str, name: str, pos: int) -> tuple[int, int]:
    """Where the ``\\end`` of an environment begins and ends, its body beginning at ``pos``.

    Returns:
        Two places, or ``(-1, -1)`` where it is not ended.
    """
    depth = 1
    pattern = re.compile(r"\\(begin|end)\s*\{\s*" + re.escape(name) + r"\s*\}")
    for found in pattern.finditer(text, pos):
        depth += 1 if found.group(1) == "begin" else -1
        if depth == 0:
            return found.start(), found.end()
    return -1, -1
