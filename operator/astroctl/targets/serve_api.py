"""Ray Serve's REST API: declarative, so what runs already must be in every request."""

from __future__ import annotations

import time
from typing import Any

from astroctl.targets.http import Http, Refused
from astrosage.errors import ClusterError

_PATH = "/api/serve/applications/"
# The first request makes the dashboard connect to the cluster and start the Serve controller.
_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.2


class ServeApi:
    """Applications served by one cluster.

    Args:
        http: The cluster's dashboard.
    """

    def __init__(self, http: Http) -> None:
        self._http = http

    def details(self) -> dict[str, Any]:
        """Everything that Serve says of itself; ``applications`` is empty where it does not run.

        Raises:
            ClusterError: If Serve is not installed there.
        """
        try:
            value: dict[str, Any] = self._http.json("GET", _PATH, timeout=_TIMEOUT_SECONDS)
        except Refused as error:
            raise _explained(error) from None
        return value

    def applications(self) -> dict[str, dict[str, Any]]:
        """``name -> details`` of every application."""
        found: dict[str, dict[str, Any]] = self.details().get("applications") or {}
        return found

    def deploy(self, application: dict[str, Any], host: str, port: int) -> None:
        """Add or replace one application; the others stay as they are.

        Raises:
            ClusterError: If Serve refuses it.
        """
        others = self._configs_without(application["name"])
        self._put([*others, application], host, port)

    def remove(self, name: str) -> bool:
        """Take one application down; the last one takes Serve with it.

        Returns once it is gone, which takes as long as its last requests; False if there was none.
        """
        details = self.details()
        if name not in (details.get("applications") or {}):
            return False
        others = self._configs_without(name)
        if not others:
            self._http.request("DELETE", _PATH, timeout=_TIMEOUT_SECONDS)
        else:
            options = details.get("http_options") or {}
            self._put(others, options["host"], options["port"])
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while name in self.applications() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return True

    def _configs_without(self, name: str) -> list[dict[str, Any]]:
        return [
            details["deployed_app_config"]
            for other, details in self.applications().items()
            if other != name
            and details.get("deployed_app_config")
            and details.get("status") != "DELETING"
        ]

    def _put(self, applications: list[dict[str, Any]], host: str, port: int) -> None:
        config = {
            "proxy_location": "HeadOnly",
            "http_options": {"host": host, "port": port},
            "applications": applications,
        }
        try:
            self._http.request("PUT", _PATH, json=config, timeout=_TIMEOUT_SECONDS)
        except Refused as error:
            raise _explained(error) from None


def _explained(error: Refused) -> ClusterError:
    if error.status == 501:
        return ClusterError(
            "Ray Serve is not installed on the cluster", "pip install 'astrosage[serve]' there"
        )
    return error
