"""A document as one text: inputs read, comments gone, the author's macros expanded.

This follows TeX's mouth as far as text needs it: commands are expanded when they are met, in the
order of the document, with the definitions that stand before them. Grouping of definitions is not
kept (a local one holds until the end), and macros with delimited parameters are not expanded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from astrosage.data.latex import conditionals
from astrosage.data.latex.definitions import DEFINITIONS
from astrosage.data.latex.fence import Fence
from astrosage.data.latex.frames import MAX_DEPTH, Frame, Frames
from astrosage.data.latex.macros import Macro
from astrosage.data.latex.project import PACKAGES, Project, begins_document, imported, leads_out
from astrosage.data.latex.scan import environment_end, skip_space
from astrosage.data.latex.state import State
from astrosage.data.words import words

_NEXT = re.compile(r"\\([a-zA-Z@]+)|\\.|%", re.DOTALL)
_BEGIN = re.compile(r"\s*\{\s*([^{}]*?)\s*\}")
_ENDS_IN_WORD = re.compile(r"\\[a-zA-Z@]+$")
_BARE_NAME = re.compile(r"\s*\"?([^\s{}\\%\"]+)\"?")
_DIMENSION = re.compile(
    r"\s*=?\s*(?:-?\s*[\d.,]*\s*(?:true\s*)?(?:pt|cm|mm|in|em|ex|sp|bp|pc|dd|cc|fill?l?)\b"
    r"|-?[\d.]*\s*\\[a-zA-Z@]+|-?\d+)"
    r"(?:\s*(?:plus|minus)\s*-?[\d.]*\s*(?:pt|cm|mm|in|em|ex|fil+)\b)*"
)
_CSNAME = re.compile(r".*?\\endcsname", re.DOTALL)
_MOST_INPUTS = 2_000
_NO_SPACE_BEFORE = " \n\t.,;:!?'’)]}/-~\\%"

_VERBATIM = words("verbatim verbatim* Verbatim BVerbatim lstlisting minted alltt program listing")
_DROPPED_ENVIRONMENTS = words(
    """comment filecontents filecontents* picture tikzpicture pspicture CCSXML pgfpicture tikzcd
    feynman asy"""
)
_DIMENSIONS = words(
    """vskip hskip kern mskip hsize vsize parskip parindent baselineskip textheight textwidth
    topmargin oddsidemargin evensidemargin abovedisplayskip belowdisplayskip leftskip rightskip
    hoffset voffset raise lower moveleft moveright tolerance hbadness vbadness looseness penalty
    epsfxsize epsfysize magnification baselinestretch columnsep parsep itemsep topsep partopsep
    tabcolsep arraystretch hangindent hangafter interlinepenalty clubpenalty widowpenalty"""
)
_NOTHING = words(
    """makeatletter makeatother expandafter noexpand protect relax leavevmode unskip ignorespaces
    global long outer endcsname begingroup endgroup bgroup egroup hfil hfill hss vfil vfill vss
    null strut nobreak allowbreak break goodbreak filbreak eject vfuzz par@deathcycles"""
)


@dataclass
class Expanded:
    """A document after expansion.

    Attributes:
        text: Its body.
        counts: What was left out, by kind.
        notes: What was left out, in words.
        missing: Inputs that are not among the project's files.
        fence: What was set aside.
    """

    text: str
    counts: Counter[str]
    notes: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    fence: Fence = field(default_factory=Fence)


def expand(project: Project, main: str) -> Expanded:
    """Expand a document.

    Args:
        project: Its files.
        main: The file to begin with.

    Raises:
        DataError: If its macros make too much of it.
    """
    return _Expander(project, main).run()


class _Expander:
    def __init__(self, project: Project, main: str) -> None:
        self._project, self._main = project, main
        self._state = State(Frames(f"{project.name}: {main}"))
        self._fence = Fence()
        self._out: list[str] = []
        self._title: str | None = None
        self._inputs = 0
        self._preamble = False
        self._handlers = self._make_handlers()

    def run(self) -> Expanded:
        text = self._project.text(self._main)
        self._preamble = begins_document(text)
        frames = self._state.frames
        frames.push(Frame(text, file=self._main))
        while frames:
            self._step(frames.top)
        state = self._state
        return Expanded("".join(self._out), state.counts, state.notes, state.missing, self._fence)

    def _step(self, frame: Frame) -> None:
        found = _NEXT.search(frame.text, frame.pos)
        if found is None:
            self._emit(frame.text[frame.pos :])
            self._state.frames.pop()
            return
        if found.start() > frame.pos:
            self._emit(frame.text[frame.pos : found.start()])
        frame.pos = found.end()
        token = found.group()
        if token == "%":
            self._comment(frame)
        elif found.group(1):
            self._command(found.group(1))
        else:
            self._emit(token)

    @property
    def _silent(self) -> bool:
        return self._preamble or self._state.frames.top.definitions_only

    def _emit(self, text: str) -> None:
        if text and not self._silent:
            self._out.append(text)

    def _comment(self, frame: Frame) -> None:
        """A comment takes its line's end and the next line's indentation, but no empty line."""
        self._state.counts["comments"] += 1
        end = frame.text.find("\n", frame.pos)
        if end < 0:
            frame.pos = len(frame.text)
            return
        after = end + 1
        while frame.text[after : after + 1] in (" ", "\t"):
            after += 1
        frame.pos = end if frame.text[after : after + 1] == "\n" else after

    def _command(self, name: str) -> None:
        handler = self._handlers.get(name)
        if handler is not None:
            handler()
        elif name in DEFINITIONS:
            DEFINITIONS[name](self._state)
        elif conditionals.is_conditional(self._state, name):
            conditionals.begin(self._state, name)
        elif self._is_switch(name):
            self._state.switches[name[: -4 if name.endswith("true") else -5]] = name.endswith(
                "true"
            )
        elif name in _NOTHING:
            self._skip_space()
        elif name in _DIMENSIONS:
            self._dimension()
        elif self._silent:
            return
        elif name in self._state.macros:
            self._call(name, self._state.macros[name])
        else:
            self._emit("\\" + name)

    def _is_switch(self, name: str) -> bool:
        return (name.endswith("true") and name[:-4] in self._state.switches) or (
            name.endswith("false") and name[:-5] in self._state.switches
        )

    def _make_handlers(self) -> dict[str, Callable[[], None]]:
        state = self._state
        handlers: dict[str, Callable[[], None]] = {
            "begin": self._begin,
            "end": self._end,
            "input": self._input,
            "include": self._include,
            "subfile": self._input,
            "subfileinclude": self._input,
            "import": self._import,
            "subimport": self._import,
            "title": self._take_title,
            "url": self._address,
            "path": self._address,
            "nolinkurl": self._address,
            "href": self._link,
            "verb": self._verb,
            "lstinline": self._verb,
            "xspace": self._xspace,
            "csname": self._csname,
            "else": lambda: conditionals.at_else(state),
            "fi": lambda: conditionals.at_fi(state),
            "or": lambda: None,
            "endinput": self._end_input,
        }
        for name, ending in PACKAGES.items():
            handlers[name] = lambda ending=ending: self._package(ending)  # type: ignore[misc]
        return handlers

    def _skip_space(self) -> None:
        frame = self._state.frames.top
        frame.pos = skip_space(frame.text, frame.pos)

    # Macros

    def _call(self, name: str, macro: Macro) -> None:
        frames = self._state.frames
        if frames.top.depth >= MAX_DEPTH:
            self._state.note("macroLoops", f"\\{name} in {frames.file}")
            return
        depth = frames.top.depth + 1
        arguments: list[str] = []
        if macro.default is not None and macro.parameters:
            given = frames.bracket()
            arguments.append(macro.default if given is None else given)
        while len(arguments) < macro.parameters:
            arguments.append(frames.argument())
        if not macro.parameters:
            self._skip_space()
        self._state.counts["macrosExpanded"] += 1
        body = macro.replaced(arguments)
        if _ENDS_IN_WORD.search(body) and frames.peek().isalpha():
            body += " "
        frames.push(Frame(body, depth=depth))

    def _xspace(self) -> None:
        following = self._state.frames.peek()
        if following and following not in _NO_SPACE_BEFORE:
            self._emit(" ")

    def _csname(self) -> None:
        self._state.frames.take(_CSNAME)

    def _dimension(self) -> None:
        self._state.frames.take(_DIMENSION)
        self._state.counts["layout"] += 1

    # Environments

    def _begin(self) -> None:
        frame, found = self._state.frames.top, self._state.frames.take(_BEGIN)
        if found is None:
            return
        name = found.group(1)
        if name == "document":
            self._begin_document()
        elif name in _VERBATIM or name in _DROPPED_ENVIRONMENTS:
            self._set_aside(frame, name)
        elif self._silent:
            return
        elif name in self._state.environments:
            self._call(name, self._state.environments[name][0])
        elif name in self._state.theorems:
            note = self._state.frames.bracket()
            title = self._state.theorems[name] + (f" ({note})" if note else "")
            self._emit(f"\n\n{title}. ")
        else:
            self._emit(f"\\begin{{{name}}}")

    def _begin_document(self) -> None:
        frame = self._state.frames.top
        if self._preamble and frame.file == self._main:
            self._preamble = False
        frame.definitions_only = False
        if self._title is not None:
            title, self._title = self._title, None
            self._state.frames.push(Frame(f"\\astrotitle{{{title}}}", depth=1))

    def _set_aside(self, frame: Frame, name: str) -> None:
        start, end = environment_end(frame.text, name, frame.pos)
        if start < 0:
            self._state.note("environmentsUnclosed", f"{name} in {self._state.frames.file}")
            return
        body = frame.text[frame.pos : start]
        frame.pos = end
        if name in _DROPPED_ENVIRONMENTS:
            self._state.counts[f"environment:{name}"] += 1
        else:
            self._emit(self._fence.code(body))

    def _end(self) -> None:
        frame, found = self._state.frames.top, self._state.frames.take(_BEGIN)
        if found is None:
            return
        name = found.group(1)
        if name == "document":
            if not frame.definitions_only:
                self._state.frames.end_file()
        elif self._silent or name in self._state.theorems:
            self._emit("\n\n")
        elif name in self._state.environments:
            ending = Macro(0, self._state.environments[name][1])
            self._call(f"end {name}", ending)
        else:
            self._emit(f"\\end{{{name}}}")

    # Files

    def _end_input(self) -> None:
        self._state.frames.end_file()

    def _name_of_input(self) -> str:
        name = self._state.frames.group()
        if name is None:
            found = self._state.frames.take(_BARE_NAME)
            if found is None:
                return ""
            name = found.group(1)
        return name.strip().strip('"')

    def _input(self) -> None:
        self._read(self._name_of_input())

    def _include(self) -> None:
        """As an input, on a page of its own."""
        self._emit("\n\n")
        self._read(self._name_of_input(), after="\n\n")

    def _import(self) -> None:
        self._state.frames.star()
        folder, name = self._state.frames.argument(), self._state.frames.argument()
        self._read(imported(folder, name))

    def _read(self, name: str, after: str = "") -> None:
        state, frames = self._state, self._state.frames
        if not name or "#" in name or "\\" in name:
            return
        path = self._project.resolve(name, self._main, frames.file)
        if path is None:
            kind = "inputsOutside" if leads_out(name, self._main) else "inputsMissing"
            state.note(kind, f"{name} in {frames.file}")
            if kind == "inputsMissing":
                state.missing.append(name)
            return
        if path in frames.files:
            state.note("inputsCyclic", f"{name} in {frames.file}")
            return
        self._inputs += 1
        if self._inputs > _MOST_INPUTS:
            state.note("inputsTooMany", f"{name} in {frames.file}")
            return
        text = self._project.text(path) + after
        silent = frames.top.definitions_only or begins_document(text)
        frames.push(Frame(text, file=path, definitions_only=silent))
        state.counts["inputs"] += 1

    def _package(self, ending: str) -> None:
        """Macros of packages and classes that come with the paper are its author's too."""
        frames = self._state.frames
        frames.bracket()
        names = frames.group() or ""
        for name in reversed([n.strip() for n in names.split(",")]):
            path = self._project.resolve(name, self._main, frames.file, (ending,)) if name else None
            if path is not None and path not in frames.files:
                text = self._project.text(path)
                frames.push(Frame(text, file=path, definitions_only=True))
                self._state.counts["packages"] += 1

    # What is written to the text in a form of its own

    def _take_title(self) -> None:
        frames = self._state.frames
        frames.bracket()
        title = frames.group()
        if title is None:
            return
        if self._preamble:
            self._title = title
        elif not self._silent:
            frames.push(Frame(f"\\astrotitle{{{title}}}", depth=1))

    def _address(self) -> None:
        self._state.frames.bracket()
        address = self._raw_argument()
        if address is not None:
            self._emit(self._fence.literal(address.replace("\\%", "%").replace("\\_", "_")))

    def _link(self) -> None:
        """Of a link, the words are read and not the address."""
        self._state.frames.bracket()
        if self._raw_argument() is not None:
            self._state.counts["addresses"] += 1

    def _raw_argument(self) -> str | None:
        """An address, letter by letter: ``%`` begins no comment in it."""
        self._state.frames.settle()
        frame = self._state.frames.top
        depth, pos = 0, frame.pos
        if not frame.text.startswith("{", pos):
            return None
        for place in range(pos, min(len(frame.text), pos + 4000)):
            letter = frame.text[place]
            depth += (letter == "{") - (letter == "}")
            if depth == 0:
                frame.pos = place + 1
                return frame.text[pos + 1 : place]
        return self._state.frames.group()

    def _verb(self) -> None:
        frame = self._state.frames.top
        self._state.frames.star()
        mark = frame.text[frame.pos : frame.pos + 1]
        if not mark or mark.isspace() or mark.isalnum():
            return
        end = frame.text.find("}" if mark == "{" else mark, frame.pos + 1)
        if end >= 0 and "\n" not in frame.text[frame.pos : end]:
            self._emit(self._fence.literal(f"`{frame.text[frame.pos + 1 : end]}`"))
            frame.pos = end + 1
