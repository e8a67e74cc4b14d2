"""From judged records to the tables of a summary."""

from __future__ import annotations

import statistics as plain
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from astrosage.bench import answers
from astrosage.bench.calibration import Judgement, calibrate, softmax
from astrosage.bench.inputs import NamedSet
from astrosage.bench.question import LETTERS
from astrosage.bench.results import METHODS, ROLES
from astrosage.bench.statistics import holm, mcnemar, paired_difference, wilson
from astrosage.bench.tasks import SHUFFLED

NO_TOPIC, NO_YEAR = "(no topic)", "(no year)"
HEADLINES = ("likelihood_normalized", "likelihood", "letter", "generation")
Records = Sequence[dict[str, Any]]


def summarize_sets(sets: Sequence[NamedSet], judged: Records) -> list[dict[str, Any]]:
    """Each set's scores by method, paired tests, calibration and tables of topics and years.

    The p-values of all paired tests are adjusted for how many there are (``pHolm``).
    """
    found = [_summarize_set(item, [r for r in judged if r["set"] == item.name]) for item in sets]
    tests = [m["paired"] for s in found for m in s["methods"].values() if m["paired"]]
    for test, adjusted in zip(tests, holm([t["p"] for t in tests]), strict=True):
        test["pHolm"] = adjusted
    return found


def headline_of(methods: Any) -> str:
    """The method that tables of topics are made of, and predictions."""
    return next(m for m in HEADLINES if m in methods)


def _summarize_set(item: NamedSet, judged: Records) -> dict[str, Any]:
    by_method = {m: [r for r in judged if r["method"] == m] for m in METHODS}
    by_method = {m: found for m, found in by_method.items() if found}
    headline = headline_of(by_method)
    summary: dict[str, Any] = {
        "name": item.name,
        "path": item.path,
        "questions": len(item.questions),
        "withEqualOptions": sum(q.has_equal_choices for q in item.questions),
        "headline": headline,
        "role": item.role,
        "scored": item.has_keys,
        "shots": max((len(q.shots) for q in item.questions), default=0),
        "methods": {},
        "topics": [],
        "years": [],
    }
    if item.has_keys:
        summary["methods"] = {m: _method(m, found) for m, found in by_method.items()}
        summary["topics"] = summary["methods"][headline]["topics"]
        summary["years"] = summary["methods"][headline]["years"]
    return summary


def _method(method: str, judged: Records) -> dict[str, Any]:
    found = _compare(judged)
    for role in ROLES:
        if found[role] is not None:
            found[role] |= _more(method, judged, role)
    found["topics"] = groups(judged, "topic", NO_TOPIC)
    found["years"] = groups(judged, "year", NO_YEAR)
    return found


def _compare(judged: Records) -> dict[str, Any]:
    both = all("baseline" in r and "model" in r for r in judged)
    return {
        "model": _score(judged, "model"),
        "baseline": _score(judged, "baseline") if both else None,
        "paired": paired(judged) if both else None,
    }


def _score(judged: Records, role: str) -> dict[str, Any]:
    found = [r[role] for r in judged]
    correct, total = sum(f["correct"] for f in found), len(found)
    low, high = wilson(correct, total)
    outcomes = Counter(f.get("outcome") for f in found)
    return {
        "correct": correct,
        "total": total,
        "accuracy": correct / total,
        "low": low,
        "high": high,
        **{o: outcomes[o] for o in ("unparsable", "refused", "cut", "failed")},
        "limited": sum(bool(f.get("limited")) for f in found),
    }


def paired(judged: Records) -> dict[str, Any]:
    """Model against baseline, question by question: McNemar's test and the difference."""
    pairs = Counter((r["model"]["correct"], r["baseline"]["correct"]) for r in judged)
    better, worse = pairs[True, False], pairs[False, True]
    difference, low, high = paired_difference(pairs[True, True], better, worse, pairs[False, False])
    return {
        "better": better,
        "worse": worse,
        "p": mcnemar(better, worse),
        "difference": difference,
        "low": low,
        "high": high,
    }


def _more(method: str, judged: Records, role: str) -> dict[str, Any]:
    """What some methods tell besides accuracy."""
    more: dict[str, Any] = {}
    if all("scores" in r[role] for r in judged):
        more["calibration"] = calibrate([_judgement(method, r, role) for r in judged])
    if method in SHUFFLED and all("choices" in r for r in judged):
        more["letters"] = _letters(judged, role)
        if all("orders" in r[role] for r in judged):
            more["shuffled"] = _shuffled(judged, role)
    return more


def _judgement(method: str, record: dict[str, Any], role: str) -> Judgement:
    found = record[role]
    values = answers.compared(
        found["scores"], record["choices"], normalized=method == "likelihood_normalized"
    )
    return Judgement(softmax(values), found["chosen"], record["answer"], found["correct"])


def _letters(judged: Records, role: str) -> dict[str, dict[str, int]]:
    """How often each letter was chosen and how often it was right, over all orders asked."""
    chosen: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    for record in judged:
        for asked in _asked(record, role):
            keys[asked["key"]] += 1
            chosen[asked["letter"] or "none"] += 1
    used = [x for x in (*LETTERS, "none") if chosen[x] or keys[x]]
    return {
        "chosen": {x: chosen[x] for x in used},
        "right": {x: keys[x] for x in used if x != "none"},
    }


def _asked(record: dict[str, Any], role: str) -> Iterator[dict[str, Any]]:
    """A question each time that it was asked: as it stands in the file, or in all orders."""
    found = record[role]
    if "orders" in found:
        yield from found["orders"]
        return
    place = found["chosen"]
    yield {"letter": None if place is None else LETTERS[place], "key": LETTERS[record["answer"]]}


def _shuffled(judged: Records, role: str) -> dict[str, Any]:
    """Accuracy over all orders of the options, and how often the choice did not move."""
    orders = [r[role]["orders"] for r in judged]
    counts = [sum(o[k]["correct"] for o in orders) for k in range(len(orders[0]))]
    rounds = [count / len(orders) for count in counts]
    stable = sum(o[0]["chosen"] is not None and len({a["chosen"] for a in o}) == 1 for o in orders)
    low, high = wilson(stable, len(orders))
    return {
        "orders": len(rounds),
        "accuracy": sum(counts) / (len(orders) * len(counts)),
        "standardDeviation": plain.stdev(rounds),
        "lowest": min(rounds),
        "highest": max(rounds),
        "stable": stable,
        "stableShare": stable / len(orders),
        "stableLow": low,
        "stableHigh": high,
    }


def groups(judged: Records, field: str, missing: str) -> list[dict[str, Any]]:
    """Scores by topic or by year; empty where no question has one."""
    names = {r.get(field) for r in judged}
    if names <= {None}:
        return []
    rows = []
    for name in sorted(names, key=lambda n: (n is not None, n)):
        found = [r for r in judged if r.get(field) == name]
        scores = {k: v for k, v in _compare(found).items() if k != "paired"}
        rows.append({field: missing if name is None else name, "questions": len(found), **scores})
    return rows
