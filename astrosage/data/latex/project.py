"""The files of a paper: which is its main one, and what an ``\\input`` means."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from astrosage.data.compressed import Limits
from astrosage.data.reading import decoded, too_large
from astrosage.data.tally import Tally
from astrosage.errors import DataError

SOURCE_ENDINGS = (".tex", ".ltx", ".latex")
"""Documents and parts of them."""
HELPER_ENDINGS = (".sty", ".cls", ".def", ".bbl", ".inc")
"""Macros and bibliographies."""

PACKAGES = {"usepackage": ".sty", "RequirePackage": ".sty", "documentclass": ".cls"}
"""Commands that load macros, with the ending of what they name."""

# What this package marks places in a text with, and no source needs.
_MARKS = re.compile("[\x00-\x08\x0b\x0e-\x1f\ue000-\ue00f]")
_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
_CLASS = re.compile(r"\\document(?:class|style)\b")
_DOCUMENT = re.compile(r"\\begin\s*\{document\}")
_INPUT = re.compile(
    r"\\(?:input|include|subfile|subfileinclude)\s*\{\s*\"?([^}\"]+?)\"?\s*\}"
    r"|\\input\s+\"?([^\s{}\\%\"]+)|\\(?:sub)?import\*?\s*\{([^}]*)\}\s*\{([^}]*)\}"
)
_PACKAGE = re.compile(rf"\\({'|'.join(PACKAGES)})\s*(?:\[[^\[\]]*\])?\s*\{{([^{{}}]*)\}}")
_LOADS = re.compile(
    r"\\(?:input|include|subfile|subfileinclude|(?:sub)?import"
    rf"|{'|'.join(PACKAGES)})(?![A-Za-z@])"
)
_PLAIN_TEX = re.compile(
    r"\\(?:bye|magnification|beginsection|end\s*$|input\s+\w*mac)", re.MULTILINE
)


@dataclass
class Project:
    """A set of files below one folder.

    Attributes:
        files: What reads each file, by its path below the folder, with ``/``.
        name: What it is called in messages.
        limits: How large a document may be with all its files.
        tally: Counts conversions of encodings.
    """

    files: Mapping[str, Callable[[], bytes]]
    name: str = ""
    limits: Limits = field(default_factory=Limits)
    tally: Tally = field(default_factory=Tally)
    _texts: dict[str, str] = field(default_factory=dict)
    _mains: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """A file's text; kept until :meth:`forget`.

        Raises:
            DataError: If it is no text, or all that is kept is larger than a record may be.
        """
        if name not in self._texts:
            self._texts[name] = self._read(name, self.tally)
            if sum(map(len, self._texts.values())) > self.limits.record_bytes:
                raise too_large(f"{self.name or name} with its inputs", self.limits)
        return self._texts[name]

    def _read(self, name: str, tally: Tally) -> str:
        return self._decoded(self.files[name](), name, tally)

    def _decoded(self, data: bytes, name: str, tally: Tally) -> str:
        text = decoded(data, f"{self.name}/{name}".lstrip("/"), tally)
        return _MARKS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))

    def forget(self) -> None:
        """Let go of the texts."""
        self._texts.clear()

    def sources(self) -> list[str]:
        """The files that are documents or parts of them, sorted."""
        return sorted(n for n in self.files if n.lower().endswith(SOURCE_ENDINGS))

    def resolve(
        self, name: str, main: str, inside: str, endings: Iterable[str] = ("", ".tex")
    ) -> str | None:
        """The file that an input means.

        TeX looks from the main file's folder; packages that set up other folders are answered by
        looking from the folder of the including file, and from the top.

        Args:
            name: As written.
            main: The main file.
            inside: The file it is written in.
            endings: What may be added to the name.

        Returns:
            A path of :attr:`files`; None where there is none.
        """
        for folder in dict.fromkeys((posixpath.dirname(main), posixpath.dirname(inside), "")):
            for ending in endings:
                path = posixpath.normpath(posixpath.join(folder, name.strip() + ending))
                if path in self.files:
                    return path
        return None

    def documents(self) -> tuple[list[str], list[str]]:
        """The main files, and the orphans: parts that no other file inputs.

        A file with ``\\documentclass`` is a main one, unless it is a part of another (as with the
        package `subfiles`); where there is none, plain TeX is looked for, then any file that
        nothing inputs.
        """
        parts, classes, plain = set(), [], []
        for name in self.sources():
            try:
                text = _COMMENT.sub("", self._read(name, Tally()))
            except DataError:  # who converts it is told, and may leave it out
                classes.append(name)
                continue
            if _CLASS.search(text):
                classes.append(name)
            elif _PLAIN_TEX.search(text):
                plain.append(name)
            parts |= self._inputs(text, name) - {name}
        mains = [n for n in classes if n not in parts] or classes
        if not mains:
            mains = [n for n in plain if n not in parts]
        orphans = [n for n in self.sources() if n not in parts and n not in mains]
        if not mains and not orphans:  # every file inputs another one: a circle
            orphans = self.sources()
        self._mains = mains
        return mains, orphans

    def bibliographies(self, main: str) -> list[str]:
        """The ``.bbl`` files of a document, its own last.

        Where there are several documents, as in a folder of papers, they are those that lie beside
        it and are no other's.
        """
        stem = _stem(main)
        if len(self._mains) > 1:
            found = self._bibliographies.get(posixpath.dirname(main), [])
            found = [n for n in found if _stem(n) == stem or _stem(n) not in self._stems]
        else:
            found = [n for names in self._bibliographies.values() for n in names]
        return sorted(found, key=lambda n: (_stem(n) == stem, n))

    def needed(self, main: str) -> dict[str, bytes] | None:
        """Every file that converting a document may look at, with what is in it.

        None where that is not known before it is done, since macros make names of files.

        Raises:
            DataError: If one of them cannot be read.
        """
        found: dict[str, bytes] = {}
        waiting = {main}
        while waiting:
            inside = waiting.pop()
            found[inside] = self.files[inside]()
            named = _named(_COMMENT.sub("", self._decoded(found[inside], inside, Tally())))
            if named is None:
                return None
            paths = {self.resolve(name, main, inside, endings) for name, endings in named}
            waiting |= {path for path in paths if path is not None and path not in found}
        return found | {name: self.files[name]() for name in self.bibliographies(main)}

    @cached_property
    def _bibliographies(self) -> dict[str, list[str]]:
        """By folder."""
        found: dict[str, list[str]] = {}
        for name in self.files:
            if name.lower().endswith(".bbl"):
                found.setdefault(posixpath.dirname(name), []).append(name)
        return found

    @cached_property
    def _stems(self) -> frozenset[str]:
        return frozenset(map(_stem, self._mains))

    def _inputs(self, text: str, inside: str) -> set[str]:
        paths = (self.resolve(_input(match), inside, inside) for match in _INPUT.finditer(text))
        return {path for path in paths if path is not None}


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _input(match: re.Match[str]) -> str:
    """The name in a match of ``_INPUT``."""
    plain, bare, folder, name = match.groups()
    return plain or bare if name is None else imported(folder, name)


def _named(text: str) -> list[tuple[str, tuple[str, ...]]] | None:
    """The names of files that a text loads, with the endings they may have.

    None if it loads one that it does not name.
    """
    known: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
    for match in _INPUT.finditer(text):
        known[match.start()] = [(_input(match), ("", ".tex"))]
    for match in _PACKAGE.finditer(text):
        names, ending = match[2].split(","), PACKAGES[match[1]]
        known[match.start()] = [(n.strip(), (ending,)) for n in names if n.strip()]
    if any(match.start() not in known for match in _LOADS.finditer(text)):
        return None
    named = [entry for entries in known.values() for entry in entries]
    return None if any(c in name for name, _ in named for c in "#\\") else named


def begins_document(text: str) -> bool:
    """Whether a file has a preamble of its own."""
    return _DOCUMENT.search(text) is not None and (
        _DOCUMENT.search(_COMMENT.sub("", text)) is not None
    )


def imported(folder: str, name: str) -> str:
    """What ``\\import{folder}{name}`` names."""
    return f"{folder.strip().rstrip('/')}/{name.strip()}" if folder.strip() else name


def leads_out(name: str, main: str) -> bool:
    """Whether a path leads out of the project's folder."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(main), name.strip()))
    return path.startswith(("../", "/")) or path == ".."
