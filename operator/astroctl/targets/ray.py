"""Target ``ray``: a Ray cluster that runs already, through its dashboard's address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from astroctl.targets import package
from astroctl.targets.base import Submission
from astroctl.targets.http import Http, is_loopback
from astroctl.targets.jobs_api import JobsApi
from astroctl.targets.jobs_target import JobsTarget
from astrosage.errors import NotFoundError, SpecError
from astrosage.spec.job import AstroJob


class RayTarget(JobsTarget):
    """A cluster elsewhere.

    The code of this installation is uploaded, so that the cluster runs the same version. Variables
    of this shell, secrets among them, are not sent: set those that a job needs on the cluster.

    Args:
        address: The dashboard, such as ``http://head:8265``; default ``RAY_API_SERVER_ADDRESS``.
        shared_storage: Every node sees this machine's paths, so local storage may be used.
    """

    name = "ray"
    python = "python"

    def __init__(self, address: str | None = None, *, shared_storage: bool = False) -> None:
        found = address or os.environ.get("RAY_API_SERVER_ADDRESS")
        if not found:
            raise SpecError(
                "--target ray needs the address of a Ray dashboard",
                "--address http://head:8265, or set RAY_API_SERVER_ADDRESS",
            )
        self._address = found if "://" in found else f"http://{found}"
        self.shares_disk = shared_storage or is_loopback(self._address)
        self._api: JobsApi | None = None

    @property
    def address(self) -> str:
        """The dashboard."""
        return self._address

    def api(self) -> JobsApi:
        """The cluster's API."""
        if self._api is None:
            self._api = JobsApi(Http(self._address, token()))
        return self._api

    def check(self, job: AstroJob) -> None:
        """Refuse storage that the cluster cannot see.

        Raises:
            SpecError: If the run directory is on this machine's disk.
            ClusterError: If the cluster does not answer.
        """
        if "://" not in job.spec.storage and not self.shares_disk:
            raise SpecError(
                f"spec.storage: {job.spec.storage} is a folder of this machine, which the cluster "
                f"at {self._address} cannot be assumed to see",
                "use s3://, gs:// or az://; or --shared-storage if every node has that path",
            )
        self.api().version()

    def code(self) -> str:
        """The code of this installation, uploaded unless the cluster has it."""
        name, data = package.build()
        if not self.api().has_package(name):
            self.api().upload_package(name, data)
        return f"gcs://{name}"

    def runtime_env(self, submission: Submission) -> dict[str, Any]:
        """The code, next to the variables."""
        return {**super().runtime_env(submission), "working_dir": self.code()}


def token() -> str | None:
    """Ray's authentication token, looked for where Ray itself looks.

    Raises:
        NotFoundError: If ``RAY_AUTH_TOKEN_PATH`` names a file that cannot be read.
    """
    if value := os.environ.get("RAY_AUTH_TOKEN"):
        return value
    explicit = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(explicit) if explicit else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        if explicit:
            raise NotFoundError(
                f"RAY_AUTH_TOKEN_PATH: {path} cannot be read: {error.strerror}", "mend the path"
            ) from None
        return None
