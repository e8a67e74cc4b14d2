"""Cost of each stage, and where everything comes from: inputs, hashes, licences, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from astrosage.report.facts import RunFacts, StageFacts
from astrosage.report.picture import picture
from astrosage.report.text import (
    Html,
    count,
    digest,
    duration,
    join,
    moment,
    money,
    size,
    table,
    tag,
)

_MANY = 4


def cost(facts: RunFacts) -> Html:
    """Time, memory and money."""
    rows: list[tuple[Any, ...]] = [
        (
            s.name,
            s.kind,
            tag("span", s.phase, class_=f"phase {s.phase.replace(' ', '-')}"),
            duration(s.seconds),
            size(s.peak_memory),
            tag("time", moment(s.entry.get("startedAt"))),
        )
        for s in facts.stages
    ]
    known = [s.seconds for s in facts.stages if s.seconds is not None]
    rows.append(("All stages", "", "", duration(sum(known)) if known else None, None, None))
    return join(
        [
            table(
                "Each stage's last successful run",
                ("Stage", "Kind", "State", "Time", "Peak memory", "Started"),
                rows,
                numeric=(3, 4),
            ),
            tag("p", _money(facts, sum(known))),
        ]
    )


def _money(facts: RunFacts, seconds: float) -> str:
    cluster = facts.job.spec.cluster
    price = cluster.price_per_hour
    workers = cluster.max_workers
    where = f"up to {workers} workers" if workers > 1 else "1 worker"
    if price is None:
        return f"Ran on {where}. No cost: the run file gives no price (spec.cluster.pricePerHour)."
    spent = facts.progress.get("costUSD")
    text = f"Ran on {where} at {money(price)} an hour: {money(seconds / 3600 * price)} for the "
    text += "stages above"
    return text + (f", {money(spent)} with all attempts and waiting." if spent else ".")


def lineage(facts: RunFacts) -> Html:
    """The picture, and each stage's inputs with hashes and licences."""
    recorded = [s for s in facts.stages if s.entry]
    if not recorded:
        note = tag("p", "No stage has finished yet, so nothing is recorded.", class_="soft")
        return join([picture(facts), note])
    return join([picture(facts), *map(_inputs, recorded), _environment(recorded)])


def _inputs(stage: StageFacts) -> Html:
    entry = stage.entry
    rows = list(_input_rows(entry.get("inputs") or []))
    made = join(["made ", digest(entry.get("digest")), ", key ", digest(entry.get("key"))])
    seed = entry.get("seed")
    note = tag("p", made, f", seed {seed}" if seed is not None else "", class_="soft")
    return join(
        [
            tag("h3", f"Stage {stage.name} ({stage.kind})"),
            table("Inputs", ("Input", "What", "Licence", "SHA-256"), rows),
            note,
        ]
    )


def _input_rows(inputs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """A row an input; many files of one name are folded into one row that can be opened."""
    for name, group in groupby(inputs, key=lambda i: str(i.get("name"))):
        found = list(group)
        if len(found) <= _MANY:
            yield from ((name, _what(i), _license([i]), _hash(i)) for i in found)
        else:
            listed = tag("ul", *(tag("li", _what(i), " ", _hash(i)) for i in found))
            opened = tag("details", tag("summary", f"{count(len(found))} files"), listed)
            yield name, opened, _license(found), ""


def _what(item: Mapping[str, Any]) -> Html:
    if item.get("kind") == "stage":
        return join(["stage ", tag("code", item.get("stage") or item.get("path"))])
    value = str(item.get("reference") or item.get("path") or "")
    return tag("code", value.rsplit("/", 1)[-1] if value.startswith("/") else value, title=value)


def _license(items: Sequence[Mapping[str, Any]]) -> str:
    if all(i.get("kind") == "stage" for i in items):
        return ""
    return ", ".join(dict.fromkeys(str(i.get("license") or "not stated") for i in items))


def _hash(item: Mapping[str, Any]) -> Html:
    return digest(item.get("sha256") or item.get("digest"))


def _environment(recorded: Sequence[StageFacts]) -> Html:
    """Versions and machine; a stage is named only where it ran on others."""
    rows: dict[str, dict[str, list[str]]] = {}
    for stage in recorded:
        hardware = stage.entry.get("hardware") or {}
        facts = {k: str(v) for k, v in (stage.entry.get("versions") or {}).items()}
        facts |= {k: _hardware_value(k, v) for k, v in hardware.items() if v is not None}
        for key, value in facts.items():
            rows.setdefault(key, {}).setdefault(value, []).append(stage.name)
    lines = []
    for key, values in rows.items():
        only = len(values) == 1
        shown = "; ".join(v if only else f"{v} ({', '.join(s)})" for v, s in values.items())
        lines.append(join([tag("dt", key), tag("dd", shown)]))
    if not lines:
        return Html("")
    return join([tag("h3", "Versions and hardware"), tag("dl", *lines)])


def _hardware_value(key: str, value: Any) -> str:
    return size(value) if key.endswith("Bytes") else str(value)
