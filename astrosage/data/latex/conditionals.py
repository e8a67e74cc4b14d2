"""Conditionals: which branch is read.

Switches of ``\\newif``, ``\\iftrue`` and ``\\iffalse`` are decided. Others test what only TeX knows
when it runs (registers, modes); of these the branch after ``\\else`` is read, if there is one.
"""

from __future__ import annotations

import re

from astrosage.data.latex.frames import Frame
from astrosage.data.latex.state import State
from astrosage.data.words import words

_PRIMITIVE = words(
    """iftrue iffalse ifx if ifcat ifnum ifdim ifodd ifvmode ifhmode ifmmode ifinner ifcase ifvoid
    ifhbox ifvbox ifeof ifdefined ifcsname ifpdf ifxetex ifluatex ifpdftex ifPDFTeX ifLuaTeX
    ifXeTeX iftutex ifpdfoutput"""
)
_WORDS = re.compile(r"\\(if[a-zA-Z@]*|else|fi)(?![a-zA-Z@])|\\.|%[^\n]*", re.DOTALL)


def is_conditional(state: State, name: str) -> bool:
    """Whether a command begins a conditional (``\\iff`` and ``\\ifthenelse`` do not)."""
    return name in _PRIMITIVE or (name.startswith("if") and name[2:] in state.switches)


def begin(state: State, name: str) -> None:
    """Read on in the right branch of the conditional that ``name`` begins."""
    if name == "iftrue" or state.switches.get(name[2:], False):
        state.open_conditionals += 1
        return
    frame = state.frames.top
    before = frame.pos
    word = _skip(state, frame, stop_at_else=name != "ifcase")
    if not word:
        frame.pos = before  # never closed: better too much than all the rest lost
        state.counts["conditionalsUnclosed"] += 1
        return
    decided = name == "iffalse" or name[2:] in state.switches
    state.counts["conditionals" if decided else "conditionalsUndecided"] += 1
    if word == "else":
        state.open_conditionals += 1


def at_else(state: State) -> None:
    """The branch that was read ends; what follows is skipped."""
    if state.open_conditionals:
        _skip(state, state.frames.top, stop_at_else=False)
        state.open_conditionals -= 1


def at_fi(state: State) -> None:
    """A conditional ends."""
    state.open_conditionals = max(0, state.open_conditionals - 1)


def _skip(state: State, frame: Frame, *, stop_at_else: bool) -> str:
    """Go past the ``\\fi`` (or ``\\else``) that belongs here; tells which, or nothing."""
    depth = 0
    for found in _WORDS.finditer(frame.text, frame.pos):
        word = found.group(1)
        if word is None:
            continue
        if word == "fi":
            if depth == 0:
                frame.pos = found.end()
                return word
            depth -= 1
        elif word == "else":
            if depth == 0 and stop_at_else:
                frame.pos = found.end()
                return word
        elif is_conditional(state, word):
            depth += 1
    return ""
