"""The parts of the data card that show what the steps did: see :mod:`astrosage.data.card`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astrosage.report.histogram import histogram
from astrosage.report.text import Html, count, join, percent, table, tag

_STEPS = {
    "read": "Read",
    "licence": "Under a licence that is taken",
    "clean": "After cleaning and filters",
    "deduplicate": "After deduplication",
    "decontaminate": "After decontamination",
    "sample": "Used (before copies by weight)",
}


def steps(card: Mapping[str, Any]) -> Html:
    """Documents and words after each step."""
    found = card.get("steps") or []
    if not found:
        return Html("")
    read = found[0]["words"] or 1
    rows = [
        (
            _STEPS.get(s["step"], s["step"]),
            count(s["documents"]),
            count(s["words"]),
            percent(s["words"] / read),
        )
        for s in found
    ]
    head = ("Step", "Documents", "Words", "Of all words")
    return table("What is left after each step", head, rows, numeric=(1, 2, 3))


def histograms(stage: str, card: Mapping[str, Any]) -> Html:
    """Lengths of documents, and their languages if they were identified."""
    lengths = [(_power(low), float(n)) for low, n in card.get("lengths") or []]
    found = (card.get("cleaning") or {}).get("languages") or {}
    languages = [(name, float(n)) for name, n in list(found.items())[:12]]
    longest = lengths[-1][0] if lengths else ""
    return join(
        [
            histogram(
                f"lengths-{stage}",
                "Lengths of documents",
                f"Documents by length; the longest class begins at {longest} tokens.",
                lengths,
                "tokens, from",
            ),
            histogram(
                f"languages-{stage}",
                "Languages",
                "Records by language: " + ", ".join(f"{k} {v:.0f}" for k, v in languages) + ".",
                languages,
                "language",
                "baseline",
            ),
        ]
    )


def cleaning(card: Mapping[str, Any]) -> Html:
    """What cleaning changed and refused, boilerplate, and samples before and after."""
    found = card.get("cleaning") or {}
    if not found:
        return Html("")
    rows = [
        (tag("code", rule), "records changed", count(n)) for rule, n in found["changed"].items()
    ]
    rows += [(tag("code", kind), "removed", count(n)) for kind, n in found["amounts"].items()]
    rows += [(tag("code", why), "records dropped", count(n)) for why, n in found["dropped"].items()]
    parts = []
    if rows:
        parts.append(table("Cleaning, by rule", ("Rule", "What", "How often"), rows, numeric=(2,)))
    if found["boilerplate"]:
        lines = [(line, count(n)) for line, n in found["boilerplate"]]
        parts.append(table("Boilerplate lines", ("Line", "Removed"), lines, numeric=(1,)))
    if found["samples"]:
        samples = [(s["record"], s["before"], s["after"]) for s in found["samples"]]
        head = ("Record", "Before", "After")
        parts.append(_folded("Samples before and after", table("Samples", head, samples)))
    return join(parts)


_CHAT = {
    "answers": "Answers learnt",
    "unweighted": "Answers with a weight of 0: shown, not learnt",
    "answersCut": "Answers cut off for their length",
    "split": "Conversations with a sequence for each answer",
    "sequences": "Sequences of those",
    "traces": "Answers with a reasoning trace",
    "emptyTraces": "Answers with an empty trace",
    "tracesDropped": "Traces dropped",
    "switchedOn": "Given the system prompt for reasoning",
    "switchedOff": "Given the system prompt for none",
    "offWithTrace": "Said to have no reasoning, had a trace",
    "onWithoutTrace": "Said to have reasoning, had no trace",
    "systemMerged": "System message put into the first question",
}


def conversations(card: Mapping[str, Any]) -> Html:
    """What became of conversations and of the reasoning in them."""
    found = card.get("chat") or {}
    rows = [(words, count(found[name])) for name, words in _CHAT.items() if name in found]
    return table("Conversations", ("What", "How many"), rows, numeric=(1,)) if rows else Html("")


def clusters(card: Mapping[str, Any]) -> Html:
    """Clusters of near-duplicates, the largest with an example."""
    found = card.get("clusters") or {}
    if not found:
        return Html("")
    told = tag(
        "p",
        f"{count(found['count'])} clusters of near-duplicates with {count(found['records'])} "
        "records; the first record of each was kept.",
    )
    if not found["largest"]:
        return told
    rows = [
        (c["kept"]["id"], count(c["size"]), c["kept"]["text"], c["example"]["text"])
        for c in found["largest"]
    ]
    head = ("Kept", "Records", "It begins", "The first that was left out")
    return join(
        [told, _folded("The largest clusters", table("Clusters", head, rows, numeric=(1,)))]
    )


def contamination(card: Mapping[str, Any], hits: int) -> Html:
    """Which questions were found where; all of them are in the stage's ``report.json``."""
    found = card.get("hits") or []
    if not found:
        return Html("")
    rows = [
        (
            h["question"],
            h["questions"].rsplit("/", 1)[-1],
            f"{h['document']} ({h['source'].rsplit('/', 1)[-1]}, line {h['line']})",
            h["part"],
            h["words"],
        )
        for h in found
    ]
    head = ("Question", "Set", "Record", "Found", "Words")
    title = f"Contamination: {count(len(found))} of {count(hits)} hits"
    return _folded(title, table("Contamination", head, rows))


def mixture(shares: list[Mapping[str, Any]]) -> Html:
    """Wanted, expected and realised shares, where a mixture was asked for."""
    mixed = [s for s in shares if "expectedShare" in s]
    if not mixed:
        return Html("")
    rows = [
        (
            tag("code", s["path"].rsplit("/", 1)[-1], title=s["path"]),
            count(s["onceTokens"]),
            f"{s['epochs']:.3g}",
            percent(s.get("wantedShare")),
            percent(s["expectedShare"], 2),
            percent(s["trainShare"], 2),
        )
        for s in mixed
    ]
    head = ("Files", "Tokens, once", "Epochs", "Wanted share", "Expected", "Realised")
    return table("Mixture", head, rows, numeric=(1, 2, 3, 4, 5))


def _folded(title: str, content: Html) -> Html:
    return tag("details", tag("summary", title), content)


def _power(low: int) -> str:
    """``1k`` for 1,024."""
    for unit, size in (("M", 2**20), ("k", 2**10)):
        if low >= size:
            return f"{low // size}{unit}"
    return str(low)
