"""The Jobs API's client, against answers as Ray 2.60 gives them over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from astroctl.targets import jobs_api
from astroctl.targets.http import Http, Refused

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
            status, text = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

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
