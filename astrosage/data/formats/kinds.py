"""Which reader reads which files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from astrosage.data.compressed import without_compression
from astrosage.data.formats.base import File, Reader
from astrosage.data.records import Format
from astrosage.errors import DataError
from astrosage.spec.sources import Source

ENDINGS: dict[str, str] = {
    ".txt": "text",
    ".md": "text",
    ".markdown": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".tex": "latex",
}
"""What `kind: auto` reads."""
PARTED = ("text", "html", "jsonl", "parquet", "wikipedia", "arxiv")
"""Kinds whose files are read one by one, by :meth:`~astrosage.data.formats.base.Reading.each`."""
CHAT_KINDS = ("jsonl", "parquet")
_ALLOWED = {
    "text": (".txt", ".md", ".html", ".jsonl", ".parquet", ".tex"),
    "chat": (".jsonl", ".parquet"),
}
_MODULES = {"text": "plain", "jsonl": "lines"}
_PANDOC = "convert it, for example with `pandoc -t markdown`"
# What people have, and how it comes to be read: its kind is named, or it becomes something else.
_ADVICE = {
    ".tar": "set `kind: arxiv` or `kind: latex`",
    ".xml": "set `kind: wikipedia` or `kind: cnxml`",
    ".cnxml": "set `kind: cnxml`",
    ".pdf": "take the paper's LaTeX source, which keeps its mathematics, or convert it to text",
    ".json": "write an object a line, for example with `jq -c '.[]'`, and call it .jsonl",
    **dict.fromkeys((".csv", ".tsv"), "save it as Parquet or JSONL"),
    **dict.fromkeys((".docx", ".odt", ".epub", ".rst", ".rtf"), _PANDOC),
    **dict.fromkeys((".zip", ".xz", ".7z", ".rar"), "unpack it"),
}


def reader(kind: str) -> Reader:
    """The reader of a kind; its module is imported now."""
    module = importlib.import_module(f"astrosage.data.formats.{_MODULES.get(kind, kind)}")
    return cast(Reader, module.read)


def kind_of(file: File, source: Source, format: Format, field: str) -> str:  # noqa: A002
    """The kind of one of a source's files.

    Raises:
        DataError: If it is of none that ``format`` reads.
    """
    ending = Path(without_compression(file)).suffix.lower()
    kind = ENDINGS.get(ending) if source.kind == "auto" else source.kind
    if kind is None or (format == "chat" and kind not in CHAT_KINDS):
        what = f"ends in `{ending or 'nothing'}`" if source.kind == "auto" else f"is {kind}"
        advice = _ADVICE.get(ending)
        if source.kind != "auto" or advice is None:
            advice = "narrow the pattern"
        elif any(c in source.path for c in "*?["):
            advice += ", or narrow the pattern"
        raise DataError(
            f"{field}.path: {file} {what}, which `format: {format}` does not read",
            f"{advice}; allowed: {', '.join(_ALLOWED[format])}, each also with .gz or .zst",
        )
    return kind
