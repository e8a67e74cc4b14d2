"""A stage that is killed goes on where it was, and asks for nothing that was answered."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrosage.generate.run import GRADES_NAME
from tests.endpoints.fake_service import Service
from tests.generate.conftest import Stage

pytestmark = pytest.mark.api
Make = Callable[..., Stage]
_PROGRAM = """
import sys
from pathlib import Path
from tests.generate.conftest import Stage
Stage(Path(sys.argv[1]), sys.argv[2], kind=sys.argv[3], reasoning=float(sys.argv[4])).run()
"""


def answered(stage: Stage) -> set[str]:
    """Keys of whole answers on the disk."""
    folder = Path(stage.directory.uri) / "stages/qa"
    found = set()
    for name in ("answers.jsonl", GRADES_NAME):
        for line in (folder / name).read_text().splitlines() if (folder / name).exists() else []:
            try:
                found.add(json.loads(line)["key"])
            except ValueError:
                continue
    return found


@pytest.mark.parametrize(("kind", "after"), [("chat", 3), ("chat", 37), ("questions", 20)])
def test_killed_at_any_point(
    make: Make, service: Service, tmp_path: Path, kind: str, after: int
) -> None:
    options: dict[str, Any] = {"kind": kind, "reasoning": 0.5 if kind == "chat" else 0.0}
    service.delay = 0.01
    arguments = [str(tmp_path / "a"), service.url, kind, str(options["reasoning"])]
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, *arguments]) as driver:
        limit = time.monotonic() + 60
        while len(service.requests) < after and time.monotonic() < limit:
            time.sleep(0.002)
        driver.send_signal(signal.SIGKILL)
    assert driver.returncode == -signal.SIGKILL
    service.delay = 0
    stage = make("a", **options)
    before = answered(stage)
    assert stage.directory.finished(stage.job.stage("qa")) is None
    folder = Path(stage.directory.uri) / "stages/qa"
    with (folder / "answers.jsonl").open("a") as file:
        file.write('{"key": "torn')
    time.sleep(0.2)  # requests that were under way are answered into nothing
    service.requests.clear()
    stage.run()
    asked_again = len(service.requests)
    everything = answered(stage)
    assert asked_again == len(everything - before)
    assert before < everything
    # The whole is what an undisturbed run makes of the same texts.
    file_name = "questions.jsonl" if kind == "questions" else "chat.jsonl"
    ours = (folder / "generated" / file_name).read_text()
    whole = make("b", **options).run() / file_name
    assert ours.replace(str(tmp_path / "a"), "") == whole.read_text().replace(
        str(tmp_path / "b"), ""
    )
    report = stage.report()
    assert sum(s["requests"] for s in report["services"].values()) == len(everything)
    assert report["services"]["writer"]["reused"] >= 1 or after < 10


def test_a_finished_stage_run_again_asks_nothing_and_is_the_same(
    make: Make, service: Service
) -> None:
    stage = make()
    folder = stage.run()
    before = (folder / "chat.jsonl").read_bytes()
    service.requests.clear()
    stage.run()
    assert service.requests == []
    assert (folder / "chat.jsonl").read_bytes() == before


def test_two_runs_may_share_answers(make: Make, service: Service, tmp_path: Path) -> None:
    caches = {role: {"cache": str(tmp_path / f"{role}.jsonl")} for role in ("writer", "grader")}
    make("a", **caches).run()
    service.requests.clear()
    # The texts lie elsewhere: what counts is what is asked.
    make("b", **caches).run()
    assert service.requests == []
