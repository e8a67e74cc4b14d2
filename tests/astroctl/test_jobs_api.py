"""The Jobs API's client, against answers as Ray 2.60 gives them over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from astroctl.targets import http, jobs_api, jobs_target
from astroctl.targets.base import Submission
from astroctl.targets.http import Http, HungUp, Refused
from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import ConflictError

RUNNING = (
    500,
    "RuntimeError: Attempted to delete job 'a', but it is in a non-terminal state RUNNING.",
)


@contextmanager
def answering(answers: list[tuple[int, str]]) -> Iterator[tuple[jobs_api.JobsApi, list[str]]]:
    """A server that gives these answers to requests in turn, the last one for ever.

    ``POSTED`` in an answer stands for the metadata of the job last posted.
    """
    asked: list[str] = []
    posted = "{}"

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            asked.append(self.path)
            nonlocal posted
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if body:
                posted = json.dumps(json.loads(body)["metadata"])
            status, text = answers[min(len(asked), len(answers)) - 1]
            if not status:  # hangs up
                return
            text = text.replace("POSTED", posted)
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
    with answering([HANGS_UP, EXISTS, (200, '{"metadata": POSTED}')]) as (api, asked):
        api.submit("x", "a", {"run": "r"}, {})
    assert len(asked) == 3


def test_a_job_of_that_name_by_another_is_a_conflict_whether_answers_are_lost_or_not() -> None:
    for answers in (
        [EXISTS, (200, '{"metadata": {"run": "r"}}')],
        [HANGS_UP, EXISTS, (200, '{"metadata": null}')],
    ):
        with (
            answering(answers) as (api, _),
            pytest.raises(ConflictError, match="has a job a already"),
        ):
            api.submit("x", "a", {"run": "r"}, {})


class Cluster(JobsTarget):
    name = "test"
    python = "python"
    address = "http://cluster"

    def __init__(self, api: jobs_api.JobsApi) -> None:
        self._api = api

    def api(self) -> jobs_api.JobsApi:
        return self._api


def test_the_record_of_an_ended_job_makes_way_also_if_ray_brings_it_back_once() -> None:
    ended = (200, '{"status": "STOPPED"}')
    removed = [EXISTS, ended, ended, (200, "{}")]
    with answering([*removed, *removed, (200, "{}")]) as (api, asked):
        Cluster(api).submit(Submission("a", "file:///r", ["cpt"], 1, {"run": "r"}))
    assert len(asked) == 9


def test_one_that_always_comes_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_target, "_RECORD_SECONDS", 0.3)
    ended = (200, '{"status": "STOPPED"}')
    with (
        answering([EXISTS, ended, ended, (200, "{}")] * 5) as (api, asked),
        pytest.raises(ConflictError, match="has a job a already"),
    ):
        Cluster(api).submit(Submission("a", "file:///r", ["cpt"], 1, {"run": "r"}))
    assert len(asked) > 4


def test_what_may_not_be_done_twice_is_not() -> None:
    with answering([HANGS_UP]) as (api, asked), pytest.raises(HungUp):
        api.stop("a")
    assert len(asked) == 1
