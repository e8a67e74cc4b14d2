from __future__ import annotations

import logging
import uuid
from pathlib import Path

import pytest

from astrosage.runs import metrics
from astrosage.runs.logs import logging_to
from astrosage.runs.metrics import MetricsWriter
from astrosage.runs.storage import Storage


@pytest.fixture(params=["local", "object store"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(tmp_path)
    return Storage(f"memory://metrics-{uuid.uuid4().hex}/stage")


def write(stage: Storage, steps: range, after: int | None = None) -> None:
    writer = MetricsWriter(stage, after)
    for step in steps:
        writer.log(step, 10, "steps", loss=1 / step)
    writer.close()


def test_lines_come_back_in_order(stage: Storage) -> None:
    assert metrics.read(stage) == []
    assert metrics.last(stage) is None
    write(stage, range(1, 4))
    assert [m["step"] for m in metrics.read(stage)] == [1, 2, 3]
    newest = metrics.last(stage)
    assert newest is not None
    assert (newest["step"], newest["total"], newest["unit"]) == (3, 10, "steps")


def test_resuming_drops_the_steps_that_are_done_again(stage: Storage) -> None:
    write(stage, range(1, 8))
    write(stage, range(5, 9), after=4)
    assert [m["step"] for m in metrics.read(stage)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    stage = Storage(tmp_path)
    write(stage, range(1, 3))
    with (tmp_path / metrics.NAME).open("a") as file:
        file.write('{"step": 3, "to')
    assert [m["step"] for m in metrics.read(stage)] == [1, 2]
    newest = metrics.last(stage)
    assert newest is not None
    assert newest["step"] == 2


def test_after_a_line_cut_short_the_next_one_is_whole(tmp_path: Path) -> None:
    stage = Storage(tmp_path)
    write(stage, range(1, 3))
    with (tmp_path / metrics.NAME).open("a") as file:
        file.write('{"step": 3, "to')
    write(stage, range(3, 5))
    assert [m["step"] for m in metrics.read(stage)] == [1, 2, 3, 4]


def test_logs_go_to_the_stage_and_end_with_the_block(stage: Storage) -> None:
    logger = logging.getLogger("astrosage.some.part")
    logger.disabled = True  # as logging.config.dictConfig leaves loggers that it does not know
    with logging_to(stage, "driver.log"):
        logger.info("inside")
        try:
            raise ValueError("oops")
        except ValueError:
            logger.exception("failed")
    logger.info("outside")
    text = stage.read_bytes("logs/driver.log").decode()
    assert "INFO astrosage.some.part: inside" in text
    assert "ValueError: oops" in text
    assert "outside" not in text
