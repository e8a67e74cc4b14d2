"""Ray's Jobs REST API, as far as it is needed (`/api/jobs/`, `/api/packages/`)."""

from __future__ import annotations

import secrets
import time
from typing import Any

from astroctl.targets.http import Http, HungUp, Refused
from astrosage.errors import ClusterError, ConflictError

_END_TIMEOUT_SECONDS = 20.0
_AGENT_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.1
# By this entry of a job's metadata a request whose answer was lost knows the job that it made.
_REQUEST = "request"


class JobsApi:
    """Jobs of one cluster.

    Args:
        http: The cluster's dashboard.
    """

    def __init__(self, http: Http) -> None:
        self.http = http

    def version(self) -> str:
        """The cluster's Ray version; also the cheapest sign of life.

        Raises:
            ClusterError: If it is not a Ray dashboard, or does not answer.
        """
        answer = self.http.json("GET", "/api/version")
        if not isinstance(answer, dict) or "ray_version" not in answer:
            raise ClusterError(
                f"{self.http.address} is not a Ray dashboard",
                "give the dashboard's address, such as http://head:8265",
            )
        return str(answer["ray_version"])

    def submit(
        self,
        entrypoint: str,
        submission_id: str,
        metadata: dict[str, str],
        runtime_env: dict[str, Any],
    ) -> None:
        """Start a job.

        A young cluster takes jobs a moment after it first answers; until then this waits.

        Raises:
            ConflictError: If the cluster has a job of that id.
            ClusterError: If it cannot be reached or refuses.
        """
        request = secrets.token_hex(8)
        body = {
            "entrypoint": entrypoint,
            "submission_id": submission_id,
            "metadata": {**metadata, _REQUEST: request},
            "runtime_env": runtime_env,
        }
        deadline = time.monotonic() + _AGENT_TIMEOUT_SECONDS
        while True:
            try:
                self.http.request("POST", "/api/jobs/", json=body)
                return
            except HungUp:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)
            except Refused as error:
                if f"{submission_id} already exists" in error.body:
                    if self._made_by(request, submission_id):
                        return  # whose answer was lost
                    raise ConflictError(
                        f"the cluster has a job {submission_id} already",
                        "`astroctl status` shows it; `astroctl stop` ends it",
                    ) from None
                if "agent" not in error.body or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _made_by(self, request: str, submission_id: str) -> bool:
        job = self.get(submission_id)
        return job is not None and (job.get("metadata") or {}).get(_REQUEST) == request

    def get(self, submission_id: str) -> dict[str, Any] | None:
        """A job's record; None if the cluster does not know it."""
        try:
            value: dict[str, Any] = self.http.json("GET", f"/api/jobs/{submission_id}")
        except Refused as error:
            if error.status == 404:
                return None
            raise
        return value

    def list(self) -> list[dict[str, Any]]:
        """All jobs."""
        value: list[dict[str, Any]] = self.http.json("GET", "/api/jobs/")
        return value

    def logs(self, submission_id: str) -> str | None:
        """A job's output so far; None if the cluster does not know it."""
        try:
            return str(self.http.json("GET", f"/api/jobs/{submission_id}/logs").get("logs") or "")
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def stop(self, submission_id: str) -> None:
        """Ask a job to stop (SIGTERM, later SIGKILL); unknown jobs are left alone."""
        self._unless_unknown("POST", f"/api/jobs/{submission_id}/stop")

    def delete(self, submission_id: str) -> None:
        """Remove a finished job's record; unknown jobs are left alone.

        Ray calls a job running for some seconds after its driver has ended; that is waited for.
        """
        deadline = time.monotonic() + _END_TIMEOUT_SECONDS
        while True:
            try:
                return self._unless_unknown("DELETE", f"/api/jobs/{submission_id}")
            except Refused as error:
                if "non-terminal state" not in error.body or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def has_package(self, name: str) -> bool:
        """Whether the cluster holds a code package."""
        try:
            self.http.request("GET", f"/api/packages/gcs/{name}")
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True

    def upload_package(self, name: str, data: bytes) -> None:
        """Give the cluster a code package (a zip file)."""
        self.http.request("PUT", f"/api/packages/gcs/{name}", content=data)

    def _unless_unknown(self, method: str, path: str) -> None:
        try:
            self.http.request(method, path)
        except Refused as error:
            if error.status != 404:
                raise
