"""A run's logs: the driver's from the cluster, each stage's from the run directory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping

from astroctl.runs.registry import Record
from astroctl.runs.state import RUNS_STILL, View
from astrosage.errors import NotFoundError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.base import did_you_mean

# Logs are read whole; at most a tenth of the time goes into that, however long they get.
_READING_SHARE = 10.0


def stage_logs(
    record: Record, directory: RunDirectory, stage: str | None, rank: int | None
) -> dict[str, str]:
    """``stage/file -> text`` of the run directory's log files.

    Args:
        record: The run.
        directory: Its directory.
        stage: Only this stage's.
        rank: Only the files whose name carries this rank.

    Raises:
        NotFoundError: If there is no such stage or no such file.
    """
    names = [s.name for s in directory.job().spec.stages]
    if stage is not None and stage not in names:
        raise NotFoundError(
            f"--stage: the run `{record.name}` has no stage `{stage}`", did_you_mean(stage, names)
        )
    found = {}
    for name in [stage] if stage else names:
        part = directory.stage(name)
        for file in part.log_names():
            if rank is None or _rank(file) == rank:
                found[f"{name}/{file}"] = part.log(file)
    if not found:
        what = f" of rank {rank}" if rank is not None else ""
        raise NotFoundError(
            f"no log files{what} in {directory.uri}/stages/{stage or '*'}/logs",
            "they appear when the stage starts",
        )
    return found


def _rank(name: str) -> int | None:
    found = re.search(r"(?:rank|worker)[-_]?(\d+)", name)
    return int(found[1]) if found else None


def tail(
    source: Callable[[], Mapping[str, str]],
    view: Callable[[], View] | None,
    seconds: float = 0.5,
) -> Iterator[str]:
    """Pieces of text as they come, with a header where the file changes.

    Args:
        source: Reads ``name -> whole text so far``; a name that is empty gets no header.
        view: What the run does; followed until it is over. None: what there is now.
        seconds: Between two looks, at least; more where reading takes long.
    """
    shown: dict[str, int] = {}
    current = ""
    while True:
        # Asked before the logs are read, so that the last lines are not missed.
        over = view is None or view().phase not in RUNS_STILL
        began = time.monotonic()
        for name, text in source().items():
            new = text[shown.get(name, 0) :]
            shown[name] = len(text)
            if new and name != current:
                yield f"==> {name} <==\n"
                current = name
            if new:
                yield new
        if over:
            return
        time.sleep(max(seconds, _READING_SHARE * (time.monotonic() - began)))
