"""Reasoning traces: what stands between ``<think>`` and ``</think>`` before an answer."""

from __future__ import annotations

from typing import NamedTuple

from astrosage.errors import DataError
from astrosage.spec.chat import THINK_CLOSE, THINK_OPEN


class Answer(NamedTuple):
    """An assistant's turn in its two parts.

    Attributes:
        thought: Its reasoning, without white space around it; "" if there is none, or only marks.
        text: What it answers, likewise.
    """

    thought: str
    text: str


def parted(content: str) -> Answer:
    """A turn that :func:`checked` let pass, in its two parts."""
    head, mark, text = content.partition(THINK_CLOSE)
    if not mark:
        return Answer("", content.strip())
    return Answer(head.strip().removeprefix(THINK_OPEN).strip(), text.strip())


def has_marks(content: str) -> bool:
    """Whether a turn has marks of reasoning, be there something between them or not."""
    return THINK_CLOSE in content


def checked(content: str, where: str) -> str:
    """An assistant's turn whose trace, if it has one, is whole, leads, and has an answer after it.

    A turn that begins inside its trace, since the prompt that it was asked with had opened it, gets
    the missing mark.

    Raises:
        DataError: Saying what is wrong with the trace.
    """
    opened = content.lstrip().startswith(THINK_OPEN)
    if THINK_CLOSE not in content:
        if opened:
            raise DataError(
                f"{where}: `{THINK_OPEN}` is never closed: the answer is cut off",
                "remove the record, or set the source's `onError: skip` to leave such ones out",
            )
        return content
    if content.count(THINK_CLOSE) > 1 or content.count(THINK_OPEN) > 1:
        raise DataError(
            f"{where}: several `{THINK_OPEN}` … `{THINK_CLOSE}` in one answer",
            "an answer has one trace, before it; split the record, remove it, or set `onError: "
            "skip`",
        )
    head, _, text = content.partition(THINK_CLOSE)
    if not opened and THINK_OPEN in content:
        raise DataError(
            f"{where}: `{THINK_OPEN}` does not begin the answer",
            "an answer has one trace, before it; mend the record, remove it, or set `onError: "
            "skip`",
        )
    if not text.strip():
        raise DataError(
            f"{where}: no answer follows the reasoning",
            "write an answer, remove the record, or set the source's `onError: skip`",
        )
    if opened:
        return content
    return f"{THINK_OPEN}\n{head.strip()}\n{THINK_CLOSE}\n\n{text.strip()}"
