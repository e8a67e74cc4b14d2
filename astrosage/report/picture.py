"""Where a run's results come from, as a picture: inputs at the top, results at the bottom."""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.report.charts import WIDTH, figure, text
from astrosage.report.facts import RunFacts
from astrosage.report.text import Html, count, join, tag
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import BenchSpec, GenerateSpec, PrepareSpec, Stage

_BOX, _HEIGHT, _GAP, _ROW = 128, 42, 14, 74
_LETTERS = 15  # of a box's first line, in bold type of 13 units


@dataclass(frozen=True)
class Node:
    """Something that was made or taken.

    Attributes:
        name: Its name.
        what: What it is.
        level: 0 for what the run was given, else one more than what it is made of.
        style: CSS class.
    """

    name: str
    what: str
    level: int
    style: str


def picture(facts: RunFacts) -> Html:
    """The graph of stages with the models, texts and questions that they start from."""
    nodes, edges = network(facts.job, {s.name: s.phase for s in facts.stages})
    words = "; ".join(
        f"{node.name} ({node.what}) from {', '.join(made_of)}"
        for node in nodes
        if (made_of := [a for a, b in edges if b == node.name])
    )
    rows: list[list[Node]] = [[] for _ in range(1 + max(n.level for n in nodes))]
    for node in nodes:
        rows[node.level].append(node)
    width = max(WIDTH, max(map(len, rows)) * (_BOX + _GAP) + _GAP)
    places = {
        node.name: (width * (i + 0.5) / len(row), level * _ROW + 4.0)
        for level, row in enumerate(rows)
        for i, node in enumerate(row)
    }
    parts = [_edge(places[a], places[b]) for a, b in edges]
    parts += [_box(node, *places[node.name]) for node in nodes]
    return figure(
        "lineage-graph",
        "Lineage",
        f"Made from each other: {words}.",
        parts,
        len(rows) * _ROW - (_ROW - _HEIGHT) + 8,
        [("given", "given"), ("made here", "model")],
        {
            "nodes": [{"name": n.name, "what": n.what} for n in nodes],
            "edges": [{"from": a, "to": b} for a, b in edges],
        },
        width=width,
    )


def network(job: AstroJob, phases: dict[str, str]) -> tuple[list[Node], list[tuple[str, str]]]:
    """All nodes, each after what it is made of, and the edges between their names.

    Args:
        job: The run.
        phases: Of the stages, by name.
    """
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    for stage in graph.order(job):
        made_of = list(dict.fromkeys(r.value for r in graph.references(job, stage)))
        for reference in made_of:
            label = _short(reference)
            nodes.setdefault(label, Node(label, "model", 0, "given"))
        for label, what in _files(job, stage):
            nodes.setdefault(label, Node(label, what, 0, "given"))
            made_of.append(label)
        level = 1 + max((nodes[_short(m)].level for m in made_of), default=0)
        phase = phases.get(stage.name, "not run")
        what = stage.kind if phase == "finished" else f"{stage.kind}, {phase}"
        nodes[stage.name] = Node(stage.name, what, level, "model")
        edges += [(_short(m), stage.name) for m in made_of]
    return sorted(nodes.values(), key=lambda n: n.level), list(dict.fromkeys(edges))


def _files(job: AstroJob, stage: Stage) -> list[tuple[str, str]]:
    """What a stage was given as files; what another stage makes is not among it."""
    body = stage.body
    if isinstance(body, PrepareSpec | GenerateSpec):
        given = [s for s in body.sources if not graph.makes(job, s.path)]
        return [(f"texts of {stage.name}", _counted(len(given), "source"))] if given else []
    if isinstance(body, BenchSpec):
        sets = [q for q in body.questions if not graph.makes(job, q.path)]
        return [(f"questions of {stage.name}", _counted(len(sets), "set"))] if sets else []
    return []


def _counted(number: int, word: str) -> str:
    return f"{count(number)} {word}{'s' if number != 1 else ''}"


def _short(reference: str) -> str:
    return reference.rstrip("/").rsplit("/", 1)[-1] or reference


def _edge(start: tuple[float, float], end: tuple[float, float]) -> Html:
    (x1, top), (x2, y2) = start, end
    y1 = top + _HEIGHT
    middle = (y1 + y2) / 2
    path = f"M{x1:.1f},{y1:.1f} C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{y2:.1f}"
    return tag("path", d=path, class_="edge")


def _box(node: Node, x: float, y: float) -> Html:
    name = node.name if len(node.name) <= _LETTERS else node.name[: _LETTERS - 1] + "…"
    return join(
        [
            tag(
                "rect",
                x=f"{x - _BOX / 2:.1f}",
                y=f"{y:.1f}",
                width=str(_BOX),
                height=str(_HEIGHT),
                rx="6",
                class_=f"box {node.style}",
            ),
            text(x, y + 17, name, "middle", "strong"),
            text(x, y + 34, node.what, "middle"),
        ]
    )
