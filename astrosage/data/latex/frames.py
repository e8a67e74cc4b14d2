"""What TeX reads from: a stack of texts, the innermost first, with a bound on the work."""

from __future__ import annotations

import re
from dataclasses import dataclass

from astrosage.data.latex.scan import TOKEN, bracket_end, group_end, skip_space
from astrosage.errors import DataError

# Characters that macros put on the stack for one document: beyond it, they call each
# other for ever.
_WORK = 20_000_000
_A_CALL = 200
MAX_DEPTH = 60
"""How deep macros may lie in one another."""


@dataclass(slots=True)
class Frame:
    """A text that is being read.

    Attributes:
        text: All of it.
        pos: Where reading is.
        depth: How many macros led here.
        file: The file, if it is one.
        definitions_only: Whether its text is dropped (packages, preambles).
    """

    text: str
    pos: int = 0
    depth: int = 0
    file: str | None = None
    definitions_only: bool = False


class Frames:
    """The stack."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[Frame] = []
        self._work = 0

    def __bool__(self) -> bool:
        return bool(self._stack)

    @property
    def top(self) -> Frame:
        """What is read now."""
        return self._stack[-1]

    @property
    def file(self) -> str:
        """The file that is read now."""
        return next(f.file for f in reversed(self._stack) if f.file is not None)

    @property
    def files(self) -> list[str]:
        """The files that are open, from the main one."""
        return [f.file for f in self._stack if f.file is not None]

    def push(self, frame: Frame) -> None:
        """Read ``frame`` next.

        Raises:
            DataError: If macros made too much of the document.
        """
        if frame.file is None:  # files are bounded by the size of a record
            self._spend(len(frame.text) + _A_CALL)
        self._stack.append(frame)

    def pop(self) -> Frame:
        """Go back to where the top came from."""
        return self._stack.pop()

    def end_file(self) -> None:
        """Leave the innermost file."""
        while self._stack:
            if self._stack.pop().file is not None:
                return

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > _WORK:
            raise DataError(
                f"{self._name}: its macros expand to over {_WORK // 10**6} million characters",
                "leave the document out, or mend macros that call each other",
            )

    def settle(self) -> None:
        """Skip spaces, going on in the calling text where a macro's ends."""
        while True:
            frame = self.top
            frame.pos = skip_space(frame.text, frame.pos)
            if frame.pos < len(frame.text) or frame.file is not None or len(self._stack) < 2:
                return
            self._stack.pop()

    def group(self) -> str | None:
        """The content of the ``{…}`` that comes next, past spaces; None where none does."""
        self.settle()
        while True:
            frame = self.top
            if not frame.text.startswith("{", frame.pos):
                return None
            end = group_end(frame.text, frame.pos)
            if end >= 0:
                found = frame.text[frame.pos + 1 : end - 1]
                frame.pos = end
                return found
            if not self._merge():
                return None

    def bracket(self) -> str | None:
        """The content of the ``[…]`` that comes next, past spaces; None where none does."""
        self.settle()
        frame = self.top
        if not frame.text.startswith("[", frame.pos):
            return None
        end = bracket_end(frame.text, frame.pos)
        if end < 0:
            return None
        found = frame.text[frame.pos + 1 : end - 1]
        frame.pos = end
        return found

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What comes next in the top's text, if it matches; it is taken."""
        frame = self.top
        found = pattern.match(frame.text, frame.pos)
        if found is not None:
            frame.pos = found.end()
        return found

    def star(self) -> bool:
        """Whether ``*`` comes next; it is taken."""
        frame = self.top
        if frame.text.startswith("*", frame.pos):
            frame.pos += 1
            return True
        return False

    def argument(self) -> str:
        """A macro's argument: a group's content, else one command or character."""
        found = self.group()
        if found is not None:
            return found
        frame = self.top
        token = TOKEN.match(frame.text, frame.pos)
        if token is None or token.group() in ("}", "\n"):
            return ""
        frame.pos = token.end()
        return token.group()

    def name(self) -> str | None:
        r"""The command that comes next, as ``\name`` or ``{\name}``, without its backslash."""
        token = self.argument().strip()
        return token[1:].strip() if token.startswith("\\") and len(token) > 1 else None

    def peek(self) -> str:
        """The next character, across the ends of macros; empty at the end of a file."""
        for frame in reversed(self._stack):
            if frame.pos < len(frame.text):
                return frame.text[frame.pos]
            if frame.file is not None:
                break
        return ""

    def _merge(self) -> bool:
        """Join the top, a macro's text, to the text that called it."""
        if self.top.file is not None or len(self._stack) < 2:
            return False
        inner, outer = self._stack.pop(), self.top
        outer.text = inner.text[inner.pos :] + outer.text[outer.pos :]
        outer.pos = 0
        self._spend(len(outer.text))
        return True
