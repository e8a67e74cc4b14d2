"""The Jobs API's client, against answers as Ray 2.60 gives them over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from astroctl.targets import http, jobs_api
from astroctl.targets.http import Http, HungUp, Refused
from astrosage.errors import ConflictError

RUNNING = (
    500,
    "RuntimeError: Attempted to delete job 'a', but it is in a non-terminal state RUNNING.",
)


@contextmanager
def answering(answers: list[tuple[int, str]]) -> Iterator[tuple[jobs_api.JobsApi, list[str]]]:
    """A server that gives these answers to requests in turn, the last one for ever."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, text = answers[min(len(asked), len(answers)) - 1]
            if not status:  # hangs up
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self) -> None:
            self.do_DELETE()

        def do_POST(self) -> None:
            self.do_DELETE()

        def log_message(self, *args: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield jobs_api.JobsApi(Http(f"http://127.0.0.1:{server.server_port}")), asked
        finally:
            server.shutdown()
            thread.join()


def test_a_job_whose_driver_has_just_ended_is_deleted_once_ray_has_seen_it() -> None:
    with answering([RUNNING, RUNNING, (200, "{}")]) as (api, asked):
        api.delete("a")
    assert asked == ["/api/jobs/a"] * 3


def test_a_job_that_stays_running_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs_api, "_END_TIMEOUT_SECONDS", 0.2)
    with answering([RUNNING]) as (api, asked), pytest.raises(Refused, match="non-terminal"):
        api.delete("a")
    assert len(asked) > 1


def test_other_refusals_are_told_at_once_and_unknown_jobs_are_left_alone() -> None:
    with answering([(500, "out of order")]) as (api, asked), pytest.raises(Refused):
        api.delete("a")
    assert len(asked) == 1
    with answering([(404, "no such job")]) as (api, asked):
        api.delete("a")
    assert len(asked) == 1


HANGS_UP = (0, "")
EXISTS = (500, "ValueError: Job with submission_id a already exists.")


def test_a_cluster_that_hangs_up_while_it_starts_is_asked_again() -> None:
    with answering([HANGS_UP, HANGS_UP, (200, "{}")]) as (api, asked):
        assert api.get("a") == {}
    assert len(asked) == 3


def test_one_that_only_hangs_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PATIENCE_SECONDS", 0.3)
    with answering([HANGS_UP]) as (api, asked), pytest.raises(HungUp, match="cannot be reached"):
        api.get("a")
    assert len(asked) > 1


def test_a_job_is_submitted_once_though_its_answer_was_lost() -> None:
    with answering([HANGS_UP, EXISTS]) as (api, _):
        api.submit("x", "a", {}, {})
    with answering([EXISTS]) as (api, _), pytest.raises(ConflictError, match="has a job a already"):
        api.submit("x", "a", {}, {})


def test_what_may_not_be_done_twice_is_not() -> None:
    with answering([HANGS_UP]) as (api, asked), pytest.raises(HungUp):
        api.stop("a")
    assert len(asked) == 1
