"""Job traces: CSV files of what was asked for and when, read, written and made up.

Columns: `id`, `arrival` (seconds), `gpus` (of the whole job), `duration` (seconds it runs), and
optionally `pods` (default: as few as there can be), `priority`, `spot` (may it run on nodes that
are taken away), `preemptions` (how often it was interrupted on such nodes), `pool`, `accelerator`.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astrosage.errors import DataError, NotFoundError
from astrosage.spec.base import did_you_mean

REQUIRED = ("id", "arrival", "gpus", "duration")
OPTIONAL = ("pods", "priority", "spot", "preemptions", "pool", "accelerator")


@dataclass(frozen=True, slots=True)
class Job:
    """One line of a trace."""

    id: str
    arrival: float
    """Seconds."""
    gpus: int
    """Of all pods together."""
    duration: float
    """Seconds of running, if nothing interrupts it."""
    pods: int | None = None
    """None: as few as a node's GPUs allow."""
    priority: int = 0
    spot: bool = False
    preemptions: int = 0
    """Interruptions, evenly spread over its time on spot nodes."""
    pool: str | None = None
    accelerator: str | None = None

    def split(self, gpus_per_node: int) -> tuple[int, int]:
        """Pods, and GPUs of each: alike, none larger than a node, and as few as can be."""
        if self.pods is not None:
            return self.pods, self.gpus // self.pods
        if not self.gpus:
            return 1, 0
        each = next(
            n for n in range(min(self.gpus, max(1, gpus_per_node)), 0, -1) if self.gpus % n == 0
        )
        return self.gpus // each, each


class _Wrong(Exception):
    pass


def _number(low: float, *, whole: bool = False) -> Callable[[str], Any]:
    kind = "a whole number" if whole else "a number"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise _Wrong(f"expected {kind}, found `{text}`") from None
        if not math.isfinite(value) or value < low or (whole and value != int(value)):
            raise _Wrong(f"expected {kind} from {low:g} up, found `{text}`")
        return int(value) if whole else value

    return read


def _text(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    flags = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in flags:
        raise _Wrong(f"expected true or false, found `{text}`")
    return flags[text.lower()]


_READ: dict[str, Callable[[str], Any]] = {
    "id": _text,
    "arrival": _number(0),
    "gpus": _number(0, whole=True),
    "duration": _number(0),
    "pods": _number(1, whole=True),
    "priority": _number(-(2**31), whole=True),
    "spot": _flag,
    "preemptions": _number(0, whole=True),
    "pool": _text,
    "accelerator": _text,
}


def read(path: str | Path) -> list[Job]:
    """Read a trace; lines may come in any order, the jobs are sorted by arrival.

    Raises:
        NotFoundError: There is no such file.
        DataError: With the line, the column and what was found there.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            jobs = list(_jobs(csv.reader(stream, strict=True), str(path)))
    except FileNotFoundError:
        raise NotFoundError(
            f"trace {path} does not exist", "make one up with --generate JOBS"
        ) from None
    except IsADirectoryError:
        raise NotFoundError(f"trace {path} is a folder", "name the CSV file in it") from None
    except OSError as error:
        raise NotFoundError(
            f"trace {path} cannot be read: {error.strerror}", "check its rights"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    if not jobs:
        raise DataError(f"{path}: no jobs", "write one job a line below the header")
    return sorted(jobs, key=lambda job: job.arrival)


def _jobs(rows: Any, path: str) -> Iterator[Job]:
    seen: dict[str, int] = {}
    header: list[str] | None = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = _header(row, path)
                continue
            job = _job(header, row, f"{path}, line {rows.line_num}")
            if job.id in seen:
                raise DataError(
                    f"{path}, line {rows.line_num}, column id: `{job.id}` is on line "
                    f"{seen[job.id]} already",
                    "ids must differ",
                )
            seen[job.id] = rows.line_num
            yield job
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: not CSV: {error}", "check quotes") from None


def _header(row: Sequence[str], path: str) -> list[str]:
    names = [cell.strip() for cell in row]
    for name in names:
        if name not in _READ:
            raise DataError(
                f"{path}, line 1: unknown column `{name}`; {did_you_mean(name, _READ)}",
                "leave out what is not among them",
            )
        if names.count(name) > 1:
            raise DataError(f"{path}, line 1: two columns `{name}`", "leave out one")
    for name in REQUIRED:
        if name not in names:
            raise DataError(
                f"{path}, line 1: no column `{name}`",
                f"the first line names the columns: {', '.join(REQUIRED)}, and optionally "
                + ", ".join(OPTIONAL),
            )
    return names


def _job(header: Sequence[str], row: Sequence[str], where: str) -> Job:
    if len(row) != len(header):
        raise DataError(
            f"{where}: {len(row)} values for {len(header)} columns", "write one value for each"
        )
    values: dict[str, Any] = {}
    for name, cell in zip(header, row, strict=True):
        text = cell.strip()
        if not text and name in OPTIONAL:
            continue
        try:
            if not text:
                raise _Wrong("expected a value, found nothing")
            values[name] = _READ[name](text)
        except _Wrong as error:
            raise DataError(f"{where}, column {name}: {error}", "correct it there") from None
    job = Job(**values)
    if job.pods is not None and job.gpus % job.pods:
        raise DataError(
            f"{where}, column pods: {job.gpus} GPUs do not divide into {job.pods} pods alike",
            "leave pods empty, or give a divisor of gpus",
        )
    return job


def write(path: str | Path, jobs: Iterable[Job]) -> None:
    """Write a trace.

    Raises:
        DataError: It cannot be written there.
    """
    columns = (*REQUIRED, *OPTIONAL)
    rows = ([_cell(getattr(job, name)) for name in columns] for job in jobs)
    try:
        with open(path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    except OSError as error:
        raise DataError(
            f"trace {path} cannot be written: {error.strerror}", "name another file"
        ) from None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


# Sizes of jobs and their shares: most are small, most GPU time goes into large ones.
_SIZES = {1: 0.42, 2: 0.16, 4: 0.14, 8: 0.16, 16: 0.06, 32: 0.04, 64: 0.02}
_MEDIAN_SECONDS = 1800.0
_SPREAD = 1.4


def generate(
    count: int, *, seed: int = 0, days: float = 7.0, sizes: dict[int, float] | None = None
) -> list[Job]:
    """Make up a trace: random arrivals, more by day than by night, and long-tailed durations.

    Args:
        count: Jobs.
        seed: The same seed gives the same trace.
        days: The time that arrivals spread over.
        sizes: Share of jobs by their GPUs.
    """
    dice = random.Random(seed)
    sizes = sizes or _SIZES
    span = days * 86_400
    chosen = dice.choices(list(sizes), list(sizes.values()), k=count)
    arrivals = sorted(_arrival(dice, span) for _ in range(count))
    width = len(str(count))
    return [
        Job(
            id=f"job-{number:0{width}d}",
            arrival=float(round(arrival)),
            gpus=gpus,
            # Larger jobs run longer.
            duration=float(
                max(60, round(dice.lognormvariate(math.log(_MEDIAN_SECONDS), _SPREAD) * gpus**0.25))
            ),
            priority=10 if dice.random() < 0.05 else 0,
            spot=dice.random() < 0.5,
        )
        for number, (arrival, gpus) in enumerate(zip(arrivals, chosen, strict=True))
    ]


def _arrival(dice: random.Random, span: float) -> float:
    while True:
        time = dice.random() * span
        # Three times as many at noon as at midnight.
        if dice.random() * 2 < 1 - 0.5 * math.cos(2 * math.pi * time / 86_400):
            return time
