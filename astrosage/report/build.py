"""Build the report: one HTML file that needs nothing beside itself, not even JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from astrosage import __version__
from astrosage.report import (
    costs,
    data,
    examples,
    generated,
    pilot,
    provenance,
    scores,
    training,
)
from astrosage.report.facts import RunFacts, StageFacts, gather, problem
from astrosage.report.text import Html, duration, join, moment, tag
from astrosage.runs.directory import RunDirectory

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_CREDENTIALS = re.compile(r"(://)[^/@\s'\"]+@")


def build_report(run: RunDirectory, fresh: Mapping[str, Path] | None = None) -> str:
    """The report of a run in whatever state it is.

    Args:
        run: The run directory.
        fresh: Local folders of bench artefacts that are complete but not yet in their place, by
            stage.

    Returns:
        A whole HTML page.

    Raises:
        NotFoundError, ConflictError: If there is no run, or another version made it.
    """
    facts = gather(run, fresh or {})
    sections = [s for s in _sections(facts) if s[2]]
    links = [tag("li", tag("a", title, href=f"#{name}")) for name, title, _ in sections]
    body = join(
        [
            _header(facts, tag("nav", tag("ul", *links), aria_label="Sections")),
            *(
                tag(
                    "section",
                    tag("h2", title, id=f"{name}-title"),
                    content,
                    id=name,
                    aria_labelledby=f"{name}-title",
                )
                for name, title, content in sections
            ),
            _footer(),
        ]
    )
    return _page(f"{facts.job.metadata.name}: report", body)


def _sections(facts: RunFacts) -> list[tuple[str, str, Html]]:
    benches = [s for s in facts.of_kind("bench") if s.summary]
    return [
        ("pilot", "Pilot", pilot.section(facts)),
        ("scores", "Scores", _each(scores.section, benches)),
        ("accuracy-cost", "Accuracy and cost", _each(costs.section, benches)),
        ("training", "Training", _each(training.section, facts.of_kind("train"))),
        ("examples", "Questions gained and lost", _each(examples.section, benches)),
        ("data", "Data", _each(data.section, facts.of_kind("prepare"))),
        ("generated", "Generated data", _each(generated.section, facts.of_kind("generate"))),
        ("cost", "Time and cost", provenance.cost(facts)),
        ("lineage", "Where it comes from", provenance.lineage(facts)),
        ("reproduce", "How to reproduce it", _reproduce(facts)),
    ]


def _each(section: Callable[[StageFacts], Html], stages: Iterable[StageFacts]) -> Html:
    return join(section(stage) for stage in stages)


def _header(facts: RunFacts, navigation: Html) -> Html:
    phase = facts.phase
    known = [s.seconds for s in facts.stages if s.seconds is not None]
    path = " → ".join(s.name for s in facts.stages)
    facts_line = [
        f"base model {facts.job.spec.model}",
        f"stages {path}",
        f"started {moment(facts.progress.get('startedAt'))}",
        duration(sum(known)) if known else "no stage finished",
    ]
    benches = facts.of_kind("bench")
    results = [scores.headline(s, of_several=len(benches) > 1) for s in benches]
    return tag(
        "header",
        tag("p", f"Run report · {facts.job.metadata.namespace}", class_="eyebrow"),
        tag("h1", facts.job.metadata.name, " ", tag("span", phase, class_=f"phase {phase}")),
        tag("p", " · ".join(facts_line), class_="soft"),
        *results,
        _problem(facts),
        navigation,
    )


def _problem(facts: RunFacts) -> Html:
    error = problem(facts)
    if not error:
        return Html("")
    hint = error.get("hint")
    return tag(
        "div",
        tag("p", tag("strong", f"The run {facts.phase} in stage {facts.progress.get('stage')}.")),
        tag("p", error.get("message")),
        tag("p", f"Hint: {hint}") if hint else "",
        class_="notice",
        role="note",
    )


def _reproduce(facts: RunFacts) -> Html:
    name = facts.job.metadata.name
    commands = "\n".join(
        [
            f"pip install 'astrosage[all]=={__version__}'",
            "astroctl validate -f job.yaml",
            f"astroctl submit train -f job.yaml --set metadata.name={name}-again",
        ]
    )
    job = _CREDENTIALS.sub(r"\1…@", facts.job_text)
    return join(
        [
            tag(
                "p",
                "Save the run file below as job.yaml and submit it. Its paths are those of the "
                "machine that the run was submitted on; the hashes above say whether the inputs "
                "are the same. On the same hardware and number of workers the losses are the same.",
            ),
            tag("pre", tag("code", commands)),
            tag("details", tag("summary", "job.yaml"), tag("pre", tag("code", job))),
        ]
    )


def _footer() -> Html:
    return tag(
        "footer",
        f"Written by astrosage {__version__}. Intervals are Wilson's at 95 %; paired tests are "
        "McNemar's, exact and two-sided.",
    )


def _page(title: str, body: Html) -> str:
    style = files("astrosage.report").joinpath("style.css").read_text(encoding="utf-8")
    head = join(
        [
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            tag("title", title),
            tag("style", Html(style)),
        ]
    )
    page = tag("html", tag("head", head), tag("body", tag("main", body)), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"
