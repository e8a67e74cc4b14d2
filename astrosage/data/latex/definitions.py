"""Reading the author's definitions: ``\\newcommand``, ``\\def`` and their relatives."""

from __future__ import annotations

import re
from collections.abc import Callable

from astrosage.data.latex.macros import PROTECTED, Macro
from astrosage.data.latex.scan import skip_space
from astrosage.data.latex.state import State

_DEF = re.compile(r"\s*\\([a-zA-Z@]+|.)([^{}\\%]*)(?=\{)", re.DOTALL)
_PARAMETERS = re.compile(r"\s*((?:#[1-9])*)\s*")
_LET = re.compile(r"\s*\\([a-zA-Z@]+|.)\s*=?\s*(\\[a-zA-Z@]+|.)", re.DOTALL)
_SWITCH = re.compile(r"\s*\\if([a-zA-Z@]+)")
_MOST_PARAMETERS = 9


def _store(state: State, name: str, macro: Macro, *, keep: bool = False) -> None:
    if name in PROTECTED or (keep and name in state.macros):
        return
    if macro.body.strip() == f"\\{name}":  # would only call itself
        return
    state.macros[name] = macro
    state.counts["macroDefinitions"] += 1


def _parameters(state: State) -> tuple[int, str | None]:
    count, default = state.frames.bracket(), None
    if count is not None:
        default = state.frames.bracket()
    number = int(count) if count is not None and count.strip().isdigit() else 0
    return min(number, _MOST_PARAMETERS), default


def _new_command(state: State, *, keep: bool = False) -> None:
    state.frames.star()
    name = state.frames.name()
    parameters, default = _parameters(state)
    body = state.frames.argument()
    if name:
        _store(state, name, Macro(parameters, body, default), keep=keep)


def _provide_command(state: State) -> None:
    _new_command(state, keep=True)


def _def(state: State) -> None:
    found = state.frames.take(_DEF)
    if found is None:
        return
    body = state.frames.group()
    simple = _PARAMETERS.fullmatch(found.group(2))
    if body is None or simple is None:
        state.counts["macrosWithDelimiters"] += 1
        return
    _store(state, found.group(1), Macro(simple.group(1).count("#"), body))


def _let(state: State) -> None:
    found = state.frames.take(_LET)
    if found is None:
        return
    name, meaning = found.groups()
    known = state.macros.get(meaning[1:]) if meaning.startswith("\\") else None
    _store(state, name, known or Macro(0, meaning))


def _operator(state: State) -> None:
    star = "*" if state.frames.star() else ""
    name, text = state.frames.name(), state.frames.argument()
    if name:
        _store(state, name, Macro(0, rf"\operatorname{star}{{{text}}}"))


def _new_environment(state: State) -> None:
    state.frames.star()
    name = (state.frames.group() or "").strip()
    parameters, default = _parameters(state)
    begin, end = state.frames.argument(), state.frames.argument()
    # One that only wraps the environment of its own name would be expanded for ever.
    if name and f"\\begin{{{name}}}" not in begin and name != "document":
        state.environments[name] = (Macro(parameters, begin, default), end)
        state.counts["macroDefinitions"] += 1


def _new_theorem(state: State) -> None:
    state.frames.star()
    name = (state.frames.group() or "").strip()
    state.frames.bracket()
    title = state.frames.group() or name
    state.frames.bracket()
    if name:
        state.theorems[name] = title


def _new_if(state: State) -> None:
    found = state.frames.take(_SWITCH)
    if found:
        state.switches[found.group(1)] = False


def _skip_name_and_rest(state: State) -> None:
    """A register, font or box: its name says nothing here."""
    state.frames.name()
    frame = state.frames.top
    frame.pos = skip_space(frame.text, frame.pos)


DEFINITIONS: dict[str, Callable[[State], None]] = {
    "newcommand": _new_command,
    "renewcommand": _new_command,
    "DeclareRobustCommand": _new_command,
    "providecommand": _provide_command,
    "def": _def,
    "gdef": _def,
    "edef": _def,
    "xdef": _def,
    "let": _let,
    "DeclareMathOperator": _operator,
    "newenvironment": _new_environment,
    "renewenvironment": _new_environment,
    "newtheorem": _new_theorem,
    "newif": _new_if,
    "newcount": _skip_name_and_rest,
    "newdimen": _skip_name_and_rest,
    "newskip": _skip_name_and_rest,
    "newbox": _skip_name_and_rest,
    "newsavebox": _skip_name_and_rest,
    "newlength": _skip_name_and_rest,
}
"""Commands that define something, and what reads the rest of them."""
