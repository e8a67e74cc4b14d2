"""What stands in a run's shards, for people: read by a program of its own, shown here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from astroctl.cli.output import table
from astrosage.errors import AstroError, NotFoundError, SpecError, StorageError
from astrosage.spec.base import did_you_mean
from astrosage.spec.job import AstroJob

_BRACKETS = ("\u27e6", "\u27e7")


class InspectionError(AstroError):
    """What the program says is wrong; its exit code is kept."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


def stage_of(job: AstroJob, wanted: str | None) -> str:
    """The prepare stage that is meant.

    Raises:
        SpecError: If there is none of that name, or several and none is named.
    """
    names = [s.name for s in job.spec.stages if s.kind == "prepare"]
    if wanted is None:
        if len(names) == 1:
            return names[0]
        raise SpecError(
            f"--stage: the run has {len(names) or 'no'} prepare stages",
            f"name one of: {', '.join(names)}" if names else "shards are made by prepare stages",
        )
    if wanted not in names:
        raise SpecError(
            f"--stage: the run has no prepare stage `{wanted}`", did_you_mean(wanted, names)
        )
    return wanted


def inspect(
    run: str, stage: str, split: str, record: str | None = None, pack: int | None = None
) -> dict[str, Any]:
    """Ask :mod:`astrosage.data.inspection`.

    Raises:
        AstroError: What it says; also if it cannot be run here.
    """
    asked = [*(["--record", record] if record is not None else [])]
    asked += ["--pack", str(pack)] if pack is not None else []
    program = [sys.executable, "-m", "astrosage.data.inspection", run, stage, "--split", split]
    done = subprocess.run([*program, *asked], capture_output=True, text=True)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if "No module named" in reason:
            raise NotFoundError(
                f"reading shards needs what training needs: {reason}",
                "pip install 'astrosage[train]'",
            ) from None
        raise StorageError(f"the shards cannot be read: {reason}", "see `astroctl logs`") from None
    if "error" in answer:
        raise InspectionError(answer["error"], answer["hint"], done.returncode)
    return answer


def shown(answer: dict[str, Any], colour: bool) -> str:
    """An answer as text.

    Args:
        answer: Of :func:`inspect`.
        colour: Learnt text in green; else between brackets.
    """
    mark = _green if colour else _bracketed
    legend = f"({mark('learnt')}, not learnt)"
    if "pack" in answer:
        parts = [f"pack {answer['pack']} {legend}, {answer['padding']} tokens of padding"]
        for document in answer["documents"]:
            name = f"{document['id']} part {document['part']}"
            where = f"{document['source']}, line {document['line']}"
            parts.append(f"--- {name}: {document['tokens']} tokens, {where}")
            parts.append(_text(document["spans"], mark))
        return "\n".join(parts)
    if "record" in answer:
        found = answer["record"]
        head = (
            f"{found['id']}: {answer['tokens']} tokens, {answer['learned']} learnt {legend}, "
            f"in packs {', '.join(map(str, answer['packs']))}; "
            f"{found['source']}, line {found['line']}"
        )
        return "\n".join([head, *_sequences(answer, mark)])
    splits = [
        (name, s["sequences"], s["tokens"], s["learnedTokens"], s["documents"])
        for name, s in answer["splits"].items()
    ]
    records = [(r["number"], r["id"], r["tokens"], r["source"]) for r in answer["records"]]
    return "\n\n".join(
        (
            table(("SPLIT", "PACKS", "TOKENS", "LEARNT", "DOCUMENTS"), splits),
            table(("RECORD", "ID", "TOKENS", "SOURCE"), records),
        )
    )


def _sequences(answer: dict[str, Any], mark: Callable[[str], str]) -> list[str]:
    """A record's text; a chat's in its training sequences, where it has several."""
    parts = answer.get("sequences", [])
    if len(parts) < 2:
        return [_text(answer["spans"], mark)]
    return [
        f"--- sequence {n} of {len(parts)}\n{_text(spans, mark)}"
        for n, spans in enumerate(parts, 1)
    ]


def _text(spans: Sequence[tuple[str, bool]], mark: Callable[[str], str]) -> str:
    return "".join(mark(text) if learnt else text for text, learnt in spans)


def _green(text: str) -> str:
    return click.style(text, fg="green")


def _bracketed(text: str) -> str:
    return f"{_BRACKETS[0]}{text}{_BRACKETS[1]}"
