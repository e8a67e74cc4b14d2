"""``astroctl promote``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from astroctl.cli.command import command as make
from astroctl.cli.options import (
    complete_runs,
    complete_stages,
    output_option,
    run_options,
    target_from,
    target_options,
)
from astroctl.cli.output import emit, say
from astrosage.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from astroctl.serving.models import Model
    from astroctl.serving.standing import Standing
    from astrosage.bench.gate import Verdict


@make(
    "promote",
    "astroctl promote astro-v2 --endpoint astro --questions quiz.jsonl --margin 0.02\n"
    "astroctl promote --rollback --endpoint astro",
)
@click.argument("model", required=False, shell_complete=complete_runs)
@run_options
@click.option("--stage", shell_complete=complete_stages, help="Which of the run's models.")
@click.option("--endpoint", metavar="NAME", help="Which endpoint  [default: the only one]")
@click.option(
    "--questions",
    multiple=True,
    type=click.Path(dir_okay=False),
    help="Score both models on these now; may be repeated  [default: the run's own comparison "
    "with what is served]",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many questions.")
@click.option("--sets", multiple=True, help="Question sets that decide  [default: all]")
@click.option("--method", help="Method that decides  [default: each set's main one]")
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of accuracy that may be lost  [default: the run file's bench.gate, else 0.01]",
)
@click.option("--rollback", is_flag=True, help="Go back to what the endpoint served before.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and stop.")
@click.option("--force", metavar="REASON", help="Switch although the gate does not pass.")
@target_options
@output_option
def command(model: str | None, output: str, **options: Any) -> None:
    """Let a model take an endpoint over, if it is not worse than the one that is served.

    Both answer the same questions; the 95 % interval of the paired difference in accuracy must not
    reach below minus the margin on any deciding set. The endpoint keeps its name, keys and options,
    and the version before stays known, for --rollback.
    """
    from astroctl.serving import standing

    target = target_from(options)
    if (model is None) != options["rollback"]:
        raise click.UsageError("name a MODEL to promote, or give --rollback")
    name = options["endpoint"] or _only(target)
    now = standing.required(target, name)
    if options["rollback"]:
        _rollback(target, name, now, output, options)
        return
    from astroctl.serving.models import find_model

    found = find_model(
        str(model), options["namespace"], options["storage"], options["stage"], target
    )
    if found.reference == now.version.model:
        raise ConflictError(
            f"`{name}` serves {found.reference} already", "name another run or --stage"
        )
    verdicts = _verdicts(target, found, now, options)
    passed = all(v.passed for v in verdicts)
    told = [v.describe() for v in verdicts]
    say("\n".join(told))
    if not passed and not options["force"]:
        raise ConflictError(
            f"`{name}` stays with {now.version.model}: "
            + "; ".join(v.describe() for v in verdicts if not v.passed),
            "score more questions, widen --margin, or give --force REASON",
        )
    data = {
        "endpoint": name,
        "from": now.version.model,
        "to": found.reference,
        "passed": passed,
        "forced": options["force"] if not passed else None,
        "gate": told,
        "switched": not options["dry_run"],
    }
    if options["dry_run"]:
        emit(output, data, lambda: f"{name} would switch to {found.reference}")
        return
    standing.deploy(target, found, name, standing.anew(now.wanted, found))
    emit(
        output,
        data,
        lambda: (
            f"{name} now serves {found.reference}\n"
            f"back again: astroctl promote --rollback --endpoint {name}"
        ),
    )


def _rollback(target: Any, name: str, now: Standing, output: str, options: dict[str, Any]) -> None:
    from astroctl.serving import standing

    if now.previous is None:
        raise NotFoundError(
            f"`{name}` has served nothing but {now.version.model}",
            "`astroctl serve MODEL --name NAME` serves any model",
        )
    found = now.previous.find(name, options["namespace"], target)
    data = {"endpoint": name, "from": now.version.model, "to": found.reference}
    if not options["dry_run"]:
        standing.deploy(target, found, name, standing.anew(now.wanted, found))
    emit(
        output,
        {**data, "switched": not options["dry_run"]},
        lambda: (
            f"{name} {'would serve' if options['dry_run'] else 'serves'} {found.reference} again"
        ),
    )


def _only(target: Any) -> str:
    from astroctl.serving.place import place_of

    names = [row["name"] for row in place_of(target).status()]
    if len(names) == 1:
        return str(names[0])
    raise NotFoundError(
        "nothing is served there" if not names else f"{len(names)} models are served there",
        "serve one first: `astroctl serve MODEL`"
        if not names
        else f"name one: --endpoint {' or '.join(names)}",
    )


def _verdicts(target: Any, found: Model, now: Standing, options: dict[str, Any]) -> list[Verdict]:
    from astroctl.serving import evidence
    from astrosage.bench.gate import judge

    served = now.version.model
    if options["questions"]:
        made = evidence.score_now(target, found, served, options)
    else:
        made = evidence.of_run(found, served)
    gate = made.gate
    margin = options["margin"] if options["margin"] is not None else gate.margin
    say(f"{found.reference} against {now.version.model}, by {made.where}")
    return judge(
        made.summary, margin, options["sets"] or gate.sets, options["method"] or gate.method
    )
