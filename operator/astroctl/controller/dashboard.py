"""A run's live figures, and the way to stop it, through the dashboard of its Ray head.

The driver mirrors progress.json into Ray's log folder, and the dashboard hands that out to whoever
has the cluster's token. So nothing here depends on where the run directory lies, and pods need no
right on Kubernetes' API.
"""

from __future__ import annotations

import json
from typing import Any

from astroctl.targets.http import Http, Refused
from astroctl.targets.jobs_api import JobsApi

MIRROR = "astrosage-progress.json"
_TIMEOUT_SECONDS = 5.0


class Dashboard:
    """One Ray head's dashboard.

    Args:
        address: Host and port.
        token: Ray's authentication token.
    """

    def __init__(self, address: str, token: str | None) -> None:
        full = address if "://" in address else f"http://{address}"
        self._http = Http(full, token, _TIMEOUT_SECONDS)
        self._jobs = JobsApi(self._http)

    def progress(self, submission_id: str) -> dict[str, Any] | None:
        """The driver's last account of itself; None before there is one.

        Raises:
            ClusterError: If the head does not answer.
        """
        job = self._jobs.get(submission_id)
        node = (job or {}).get("driver_node_id")
        if not node:
            return None
        try:
            answer = self._http.request(
                "GET",
                "/api/v0/logs/file",
                params={"node_id": node, "filename": MIRROR, "lines": -1},
            )
        except Refused:
            return None  # the driver has not written it yet
        return _json(answer.text)

    def stop(self, submission_id: str) -> None:
        """Ask the driver to end; a training takes a checkpoint first.

        Raises:
            ClusterError: If the head does not answer.
        """
        self._jobs.stop(submission_id)


def _json(text: str) -> dict[str, Any] | None:
    begin = text.find("{")
    try:
        found = json.loads(text[begin:]) if begin >= 0 else None
    except ValueError:
        return None  # read while it was replaced
    return found if isinstance(found, dict) else None
