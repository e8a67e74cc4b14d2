"""Target ``local``: a Ray head on this machine's loopback interface, started when needed."""

from __future__ import annotations

import os
import sys
from typing import Any

from astroctl.targets import head
from astroctl.targets.base import Submission
from astroctl.targets.jobs_api import JobsApi
from astroctl.targets.jobs_target import JobsTarget
from astrosage.spec.job import AstroJob
from astrosage.train.tracking.check import passed_on


class LocalTarget(JobsTarget):
    """This machine.

    Args:
        dashboard_port: The port that a new head must use; by default a free one is chosen.
    """

    name = "local"
    python = sys.executable

    def __init__(self, dashboard_port: int | None = None) -> None:
        self._port = dashboard_port
        self._began = False
        self._passed: dict[str, str] = {}

    @property
    def address(self) -> str:
        """The head's dashboard; empty while none runs."""
        found = head.running()
        return found.address if found else ""

    def begin(self) -> None:
        """Start a head unless one runs."""
        self._began = head.begin(self._port)

    def abandon(self) -> None:
        """End the head that was started for nothing."""
        if self._began:
            head.stop()

    def api(self) -> JobsApi:
        """The head's API; that of a head that may still be starting once it answers."""
        found = head.running()
        return found.api() if found and not found.is_young else head.wait().api()

    def check(self, job: AstroJob) -> None:
        """Note the variables that the job's endpoints and trackers are reached with.

        Only here are they handed on from this shell: the cluster is the user's own, on loopback,
        and its API needs the token. On other clusters they must be set there.
        """
        for stage in job.spec.stages:
            for endpoint in stage.endpoints:
                name = endpoint.api_key_env
                if name and name in os.environ:
                    self._passed[name] = os.environ[name]
            if stage.train:
                self._passed.update(passed_on(stage.train.tracking, os.environ))

    def runtime_env(self, submission: Submission) -> dict[str, Any]:
        """Variables that differ from those of the head, which all its jobs inherit."""
        env = super().runtime_env(submission)
        running = head.running()
        known = running.environment if running else {}
        for name in head.CARRIED:
            if name in os.environ and os.environ[name] != known.get(name):
                env["env_vars"][name] = os.environ[name]
        env["env_vars"].update(self._passed)
        return env
