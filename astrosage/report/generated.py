"""What each generate stage wrote, what of it was taken and why the rest was not, and its price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from astrosage.report.facts import StageFacts
from astrosage.report.text import Html, count, join, money, percent, table, tag
from astrosage.spec.stages import GenerateSpec

REASONS = {
    "grade": "Graded too low",
    "nonsense": "Reply cannot be read",
    "noAnswer": "No answer of the service",
    "notGraded": "No grades that can be read",
    "mentionsSource": "Mentions its source",
    "evaluation": "Holds an evaluation question",
    "noReasoning": "No thoughts",
    "markup": "Stray marks of thoughts",
    "options": "Options not four, or alike",
    "lengths": "Lengths of options",
    "givenAway": "Question holds its answer",
    "support": "Supporting text not in the article",
    "repeated": "Asked before",
    "lengthBias": "Key longest or shortest too often",
}
_SHOWN = 2


def in_words(report: Mapping[str, Any], kind: str) -> str:
    """A line for logs and the terminal.

    Args:
        report: Of the stage's manifest.
        kind: ``chat`` or ``questions``.
    """
    counts = report["counts"]
    spent = f", {money(report['usd'])}" if report["usd"] is not None else ""
    ended = "; the budget ended the stage" if report.get("stoppedByBudget") else ""
    return (
        f"{count(counts['accepted'])} {'pairs' if kind == 'chat' else 'questions'} of "
        f"{count(counts['items'])} that were written from {count(counts['passages'])} passages; "
        f"{count(report['tokens'])} tokens{spent}{ended}"
    )


def section(stage: StageFacts) -> Html:
    """A generate stage's figures and samples."""
    title = tag("h3", f"Stage {stage.name}")
    report = stage.manifest.get("report")
    if not report:
        return join([title, tag("p", f"Nothing generated yet ({stage.phase}).", class_="soft")])
    parts = [title, _headline(stage, report), _keys(report), _services(report), _reasons(report)]
    return join([*parts, _grades(report), *_samples(report)])


def _headline(stage: StageFacts, report: Mapping[str, Any]) -> Html:
    body = stage.stage.body
    assert isinstance(body, GenerateSpec)
    counts = report["counts"]
    what = "pairs" if body.kind == "chat" else "questions"
    text = (
        f"{count(counts['accepted'])} {what} of {count(counts['items'])} that were written from "
        f"{count(counts['passages'])} passages were taken "
        f"({percent(counts['accepted'] / counts['items'] if counts['items'] else None)})"
    )
    if report.get("usdPerItem") is not None:
        text += f", for {money(report['usd'])}: {money(report['usdPerItem'])} each"
    text += "." if body.grader else "; nobody graded them."
    if report.get("stoppedByBudget"):
        text += f" The budget ended the stage after {count(counts['passages'])} passages."
    return tag("p", text)


def _keys(report: Mapping[str, Any]) -> Html:
    keys = report.get("keys")
    if not keys:
        return Html("")
    total = sum(keys.values())
    placed = ", ".join(f"{letter} {count(n)}" for letter, n in keys.items())
    text = (
        f"Keys: {placed}. The key is the longest option in {percent(report['keyLongest'] / total)} "
        f"of the questions and the shortest in {percent(report['keyShortest'] / total)}; by chance "
        "each is 25 % at most."
    )
    return tag("p", text)


def _services(report: Mapping[str, Any]) -> Html:
    rows = [
        (
            role,
            tag("code", found.get("model")),
            count(found.get("requests")),
            count((found.get("tokens") or {}).get("prompt")),
            count((found.get("tokens") or {}).get("completion")),
            count(found.get("retries")),
            count((found.get("failed") or 0) + (found.get("unread") or 0)),
            money(found.get("usd")),
        )
        for role, found in (report.get("services") or {}).items()
    ]
    head = ("Service", "Model", "Requests", "Tokens read", "Tokens written", "Sent again",
            "Not usable", "USD")  # fmt: skip
    return table("Services, in all attempts of the stage", head, rows, numeric=(2, 3, 4, 5, 6, 7))


def _reasons(report: Mapping[str, Any]) -> Html:
    found = report.get("reasons") or {}
    if not found:
        return Html("")
    rows = [(REASONS.get(reason, reason), count(n)) for reason, n in found.items()]
    return table("What was not taken", ("Reason", "Items or passages"), rows, numeric=(1,))


def _grades(report: Mapping[str, Any]) -> Html:
    found = report.get("grades") or {}
    if not found:
        return Html("")
    values = sorted({value for given in found.values() for value in given}, key=float)
    rows = [(name, *(count(given.get(v, 0)) for v in values)) for name, given in found.items()]
    numeric = range(1, len(values) + 1)
    return table("Grades given, 1 to 5", ("Grade", *values), rows, numeric=tuple(numeric))


def _samples(report: Mapping[str, Any]) -> Iterator[Html]:
    """The first few of what was taken, and of each reason."""
    for what, records in (report.get("samples") or {}).items():
        title = "Taken" if what == "accepted" else REASONS.get(what, what)
        shown = join(_sample(record) for record in records[:_SHOWN])
        yield tag("details", tag("summary", f"Samples: {title.lower()}"), shown)


def _sample(record: Mapping[str, Any]) -> Html:
    lines: list[tuple[str, Any]] = []
    if record.get("detail"):
        lines.append(("why", record["detail"]))
    for message in record.get("messages") or []:
        lines.append((message["role"], message["content"]))
    for name, value in (record.get("item") or record).items():
        if name in ("question", "correct", "reasoning", "answer", "explanation", "support"):
            lines.append((name, value))
        elif name in ("choices", "wrong"):
            lines.append((name, "; ".join(map(str, value))))
    origin = record.get("provenance") or record
    lines.append(("from", f"{origin.get('record')}, passage {str(origin.get('passage'))[:12]}"))
    return tag("dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in lines))
