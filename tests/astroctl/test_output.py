from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from astroctl.cli.closing import accuracy, closing, scores
from astroctl.cli.follow import outcome, progress_line
from astroctl.cli.output import duration, size, table
from astroctl.runs.registry import Record
from astroctl.runs.state import View
from astroctl.targets.base import JobState
from astrosage.data.run import run as prepare
from astrosage.errors import DataError, Interrupted
from astrosage.runs import manifest
from tests.data import preparing

RECORD = Record("default", "r", "/r")


def view(phase: str = "running", **progress: Any) -> View:
    return View(RECORD, phase, progress, JobState("RUNNING"))


def test_progress_line_has_stage_step_loss_rate_and_time_left() -> None:
    line = progress_line(
        view(
            stages=[{"name": "corpus"}, {"name": "cpt"}],
            stage="cpt",
            step=34,
            total=120,
            unit="steps",
            loss=2.9131,
            tokensPerSecond=1412.4,
            etaSeconds=192,
        )
    )
    assert line == "[2/2] cpt · 34/120 steps · loss 2.913 · 1,412 tokens/s · ETA 3m12s"


def test_progress_line_before_the_first_report() -> None:
    assert progress_line(view("pending")) == "pending: waiting for the driver"


def test_a_failed_run_ends_with_its_own_errors_family() -> None:
    error = {"type": "DataError", "message": "bad line", "hint": "mend it", "exitCode": 6}
    found = outcome(view("failed", error=error))
    assert isinstance(found, DataError)
    assert (found.message, found.hint, found.exit_code) == ("bad line", "mend it", 6)


def test_a_foreign_error_keeps_its_exit_code() -> None:
    error = {"type": "ValueError", "message": "ValueError: x", "hint": "", "exitCode": 1}
    assert outcome(view("failed", error=error)).exit_code == 1


def test_a_stopped_run_is_interrupted() -> None:
    assert isinstance(outcome(view("stopped")), Interrupted)


def test_a_run_that_only_prepares_ends_with_what_there_is_to_learn(
    tmp_path: Path, tiny_model: Path
) -> None:
    stage = preparing.context(tmp_path, tiny_model, "weights")
    directory = stage.run
    directory.create(stage.job)
    prepare(stage)
    made = manifest.verify(stage.shards_path("corpus"))
    train = made["splits"]["train"]
    text = closing(Record("default", "t", directory.uri), directory)
    head, left, after = text.split("\n\n")
    assert head == "t succeeded"
    assert left.startswith(f"corpus: {made['report']['kept']} of {made['report']['records']} rec")
    assert f"{train['tokens']:,} tokens in {train['sequences']} sequences" in left
    assert after.splitlines()[1].strip() == "astroctl data inspect t --stage corpus"


def test_closing_scores_carry_intervals_and_the_paired_test() -> None:
    model = {"correct": 96, "total": 200, "accuracy": 0.48, "low": 0.412, "high": 0.549}
    base = {"correct": 80, "total": 200, "accuracy": 0.40, "low": 0.335, "high": 0.469}
    text = scores(
        {
            "model": "sft",
            "baseline": "base",
            "sets": [
                {
                    "name": "quiz",
                    "questions": 200,
                    "methods": {
                        "likelihood": {
                            "model": model,
                            "baseline": base,
                            "paired": {"better": 30, "worse": 14, "p": 0.0227},
                        },
                        "generation": {"model": model, "baseline": None, "paired": None},
                    },
                }
            ],
            "heldout": {
                "model": {"perplexity": 14.2, "tokens": 2000},
                "baseline": {"perplexity": 18.75, "tokens": 2000},
            },
        }
    )
    assert "40.0 % [33.5 %, 46.9 %]  48.0 % [41.2 %, 54.9 %]  30/14" in text
    assert "0.0227" in text
    assert "perplexity on held-out text: 18.75 -> 14.20 (2000 tokens)" in text
    assert accuracy(None) == "-"


def test_small_formats() -> None:
    assert [duration(s) for s in (None, 4.4, 192, 7500)] == ["-", "4s", "3m12s", "2h05m"]
    assert [size(s) for s in (None, 10, 1536, 3 * 2**30)] == ["-", "10 B", "1.5 KiB", "3.0 GiB"]
    assert table(["A", "LONG"], [["x", None], ["yyy", 0]]) == "A    LONG\nx    -\nyyy  0"


def test_processes_are_known_by_more_than_their_pid() -> None:
    from astroctl.targets import processes

    since = processes.started(os.getpid())
    assert since
    assert processes.started(os.getpid()) == since
    assert processes.started(2**22 + 1) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_marked_processes_are_found_and_ended_with_their_children(tmp_path: Path) -> None:
    import subprocess

    from astroctl.targets import processes

    environment = {**os.environ, "MARK_OF_TEST": str(tmp_path)}
    command = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '60'])"]
    with subprocess.Popen(command, env=environment) as parent:
        while len(found := processes.family(-1, f"MARK_OF_TEST={tmp_path}")) < 2:
            assert parent.poll() is None
        assert parent.pid in found
        processes.end(found, 5.0)
        parent.wait(5)
    assert not processes.family(-1, f"MARK_OF_TEST={tmp_path}")


def test_a_port_in_use_names_its_holder() -> None:
    import socket

    from astroctl.targets import ports

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.choose(port) != port
        if sys.platform == "linux":
            assert str(os.getpid()) in ports.holder(port)
            assert ("127.0.0.1", port) in {(a, p) for a, p, _ in ports.listening()}
    assert ports.is_free(port)
