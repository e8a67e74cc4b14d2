"""The data card of each prepare stage: what came in, what was left out, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astrosage.data.naming import short_names
from astrosage.report import data_card
from astrosage.report.facts import StageFacts
from astrosage.report.text import Html, count, join, percent, table, tag
from astrosage.spec.stages import PrepareSpec

_COUNTS = {
    "records": "Records read",
    "kept": "Records kept",
    "licenseRefused": "Under another licence, left out",
    "unreadable": "Unreadable, left out",
    "empty": "Empty",
    "filtered": "Refused by filters",
    "duplicates": "Duplicates dropped",
    "nearDuplicates": "Near-duplicates dropped",
    "earlierDuplicates": "In earlier data, dropped",
    "heldOutDuplicates": "Equal to held-out records, dropped",
    "contaminatedRecords": "Wholly contaminated, dropped",
    "notSampled": "Left out by weight or share",
    "overLongDropped": "Too long, dropped",
    "overLongCut": "Too long, cut",
    "chatRefused": "Refused by the chat template, left out",
}


def section(stage: StageFacts) -> Html:
    """A prepare stage's data card."""
    title = tag("h3", f"Stage {stage.name}")
    if not stage.manifest:
        return join([title, tag("p", f"No shards yet ({stage.phase}).", class_="soft")])
    report = stage.manifest.get("report") or {}
    card = report.get("card") or {}
    return join(
        [
            title,
            _contamination(stage, report),
            data_card.contamination(card, report.get("contaminationHits") or 0),
            _splits(stage, report),
            _losses(report),
            data_card.steps(card),
            _shares(report),
            data_card.mixture(report.get("shares") or []),
            data_card.histograms(stage.name, card),
            data_card.conversations(card),
            data_card.cleaning(card),
            data_card.clusters(card),
        ]
    )


def _contamination(stage: StageFacts, report: Mapping[str, Any]) -> Html:
    body = stage.stage.body
    assert isinstance(body, PrepareSpec)
    if not body.decontaminate.enabled:
        text = "Decontamination was switched off: scores on questions that stand in this data say "
        return tag("p", tag("strong", text + "nothing."))
    hits = report.get("contaminationHits")
    if hits is None:
        return Html("")
    options = body.decontaminate
    rule = f"{options.deciding} words in a row shared with a question"
    if options.covering:
        rule += f", or runs of {options.covering} that cover {percent(options.coverage, 0)} of it"
    if not hits:
        return tag("p", f"No contamination found ({rule}).")
    return tag(
        "p",
        f"{count(hits)} questions were found in the data ({rule}): "
        f"{count(report.get('contaminatedParagraphs'))} paragraphs with "
        f"{count(report.get('contaminatedWords'))} words were removed from "
        f"{count(report.get('documentsWithContamination'))} documents.",
    )


def _splits(stage: StageFacts, report: Mapping[str, Any]) -> Html:
    padding = report.get("padding") or {}
    rows = [
        (
            name,
            count(split.get("documents")),
            count(split.get("tokens")),
            count(split.get("learnedTokens")),
            count(split.get("sequences")),
            percent(padding.get(name)),
        )
        for name, split in (stage.manifest.get("splits") or {}).items()
    ]
    if not rows:
        return Html("")
    length = count(stage.manifest.get("sequenceLength"))
    return table(
        f"Tokens, packed into sequences of {length}",
        ("Split", "Documents", "Tokens", "Learnt tokens", "Sequences", "Padding"),
        rows,
        numeric=(1, 2, 3, 4, 5),
    )


def _losses(report: Mapping[str, Any]) -> Html:
    kept = ("records", "kept", "duplicates")
    rows = [
        join([tag("dt", label), tag("dd", count(report[name]))])
        for name, label in _COUNTS.items()
        if report.get(name) or (name in kept and name in report)
    ]
    return tag("dl", *rows) if rows else Html("")


def _shares(report: Mapping[str, Any]) -> Html:
    rows = []
    shares = report.get("shares") or []
    names = short_names([str(share.get("path", "")) for share in shares])
    for share in shares:
        tokens = [share.get(k) for k in ("trainTokens", "validationTokens", "tokens")]
        known = [t for t in tokens if isinstance(t, int)]
        rows.append(
            (
                tag(
                    "code",
                    names[str(share.get("path", ""))],
                    title=str(share.get("path")),
                ),
                share.get("role") or share.get("split"),
                share.get("license") or "not stated",
                f"{share.get('weight', 1):g}",
                count(share.get("records")),
                count(sum(known)) if known else None,
            )
        )
    if not rows:
        return Html("")
    return table(
        "Sources",
        ("Files", "Used for", "Licence", "Weight", "Records", "Tokens"),
        rows,
        numeric=(3, 4, 5),
    )
