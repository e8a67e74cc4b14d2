"""Watch a run to its end: one refreshed line on a terminal, a line for every change elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

import click

from astroctl.cli.output import duration, say
from astroctl.runs.choose import runs_of
from astroctl.runs.registry import Record
from astroctl.runs.state import View
from astrosage.errors import FAMILIES, AstroError, Interrupted

_LINE_SECONDS = 10.0


def progress_line(state: View) -> str:
    """One line: stage k/n, step/total, loss, tokens/s, time left."""
    progress = state.progress
    stages = progress.get("stages") or []
    names = [s["name"] for s in stages]
    if state.phase == "pending" or not names:
        return state.phase if state.note else f"{state.phase}: waiting for the driver"
    stage = progress.get("stage")
    if stage not in names:
        return f"{state.phase}: {len(names)} stage{'s' * (len(names) > 1)}"
    parts = [f"[{names.index(stage) + 1}/{len(names)}] {stage}"]
    if progress.get("total"):
        parts.append(f"{progress.get('step', 0)}/{progress['total']} {progress.get('unit', '')}")
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress.get("tokensPerSecond"):
        parts.append(f"{progress['tokensPerSecond']:,.0f} tokens/s")
    if progress.get("mfu"):
        parts.append(f"MFU {progress['mfu']:.0%}".replace("%", " %"))
    if progress.get("etaSeconds") is not None:
        parts.append(f"ETA {duration(progress['etaSeconds'])}")
    return " · ".join(p.strip() for p in parts)


class LiveLine:
    """Shows progress on standard error, whatever that is."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last, self._shown, self._at = "", "", 0.0

    def show(self, state: View) -> None:
        """Show a state: at once on a terminal; elsewhere when the stage changes, or every 10 s."""
        line = progress_line(state) + (f" ({state.note})" if state.note else "")
        if self._terminal:
            width = shutil.get_terminal_size().columns
            click.echo(f"\r\x1b[2K{line[: width - 1]}", nl=False, err=True)
            self._shown = line
            return
        stage = line.partition(" · ")[0]
        due = time.monotonic() - self._at > _LINE_SECONDS
        if line != self._shown and (stage != self._last or due):
            say(line)
            self._shown, self._last, self._at = line, stage, time.monotonic()

    def done(self) -> None:
        """Leave the line behind."""
        if self._terminal and self._shown:
            click.echo("", err=True)


def follow(record: Record) -> View:
    """Watch until the run is over.

    Returns:
        Its last state; it succeeded.

    Raises:
        AstroError: Of the run's own error's family, if it failed.
        Interrupted: If it was stopped or its driver vanished, or on Ctrl-C, which leaves the run
            going.
    """
    live = LiveLine()
    try:
        for state in runs_of(record).states(record):
            live.show(state)
    except KeyboardInterrupt:
        live.done()
        raise detached(record) from None
    live.done()
    if state.phase != "succeeded":
        raise outcome(state)
    return state


def detached(record: Record) -> Interrupted:
    """What Ctrl-C means while following."""
    name = record.called
    return Interrupted(
        f"no longer following; the run `{name}` goes on",
        f"come back with `astroctl status {name} --watch` or `astroctl logs -f {name}`; end it "
        f"with `astroctl stop {name}`",
    )


def outcome(state: View) -> AstroError:
    """The error of a run that is over and did not succeed."""
    name, hint = state.record.name, state.hint
    if state.error:
        family = FAMILIES.get(str(state.error.get("type")), AstroError)
        error = family(str(state.error["message"]), str(state.error.get("hint") or hint))
        error.exit_code = int(state.error.get("exitCode") or family.exit_code)
        return error
    if state.phase in ("stopped", "suspended"):
        return Interrupted(f"the run `{name}` was {state.phase}", hint)
    return Interrupted(f"the run `{name}` was interrupted: {state.note}", hint)
