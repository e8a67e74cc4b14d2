"""HTTP to a Ray dashboard: bearer token, and failures as errors that say what to do."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from astrosage.errors import ClusterError

_CONNECT_SECONDS = 5.0
_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.2
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HungUp(ClusterError):
    """The cluster closed the connection and gave no answer, as a dashboard does while it starts."""


class Refused(ClusterError):
    """The cluster answered, but with an error.

    Args:
        message: What was asked and what came back.
        hint: What to do.
        status: HTTP status.
        body: The answer's text.
    """

    retryable = False

    def __init__(self, message: str, hint: str = "", status: int = 0, body: str = "") -> None:
        super().__init__(message, hint)
        self.status, self.body = status, body


def is_loopback(address: str) -> bool:
    """Whether an address means this machine alone."""
    return urlsplit(address).hostname in _LOOPBACK


class Http:
    """A client for one dashboard.

    Args:
        address: Such as ``http://127.0.0.1:8265``.
        token: Ray's authentication token, where the cluster wants one.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, address: str, token: str | None = None, timeout: float = 30.0) -> None:
        self.address = address.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout

    def _client(self, timeout: float) -> httpx.Client:
        return httpx.Client(
            base_url=self.address,
            headers=self._headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            # Reading the certificate store takes longer than a request on loopback.
            verify=self.address.startswith("https"),
            trust_env=not is_loopback(self.address),
        )

    def request(
        self, method: str, path: str, *, timeout: float | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request; once more and again if the cluster hangs up and asking twice is safe.

        Args:
            method: HTTP method.
            path: From the root.
            timeout: Seconds to wait, if not the client's.
            options: As httpx's, such as ``json`` and ``content``.

        Raises:
            ClusterError: If the cluster cannot be reached.
            HungUp: If it gives no answer.
            Refused: If it answers with an error.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._request(method, path, timeout or self._timeout, options)
            except HungUp:
                if method == "POST" or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _request(
        self, method: str, path: str, timeout: float, options: dict[str, Any]
    ) -> httpx.Response:
        try:
            with self._client(timeout) as client:
                answer = client.request(method, path, **options)
        except httpx.TimeoutException:
            raise ClusterError(
                f"Ray at {self.address} does not answer {method} {path} in time",
                "check its load with `astroctl doctor` and try again",
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The same class of error comes from what does not speak HTTP at all.
            hung_up = isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error)
            raise (HungUp if hung_up else ClusterError)(
                f"Ray cannot be reached at {self.address}: {error}",
                "check the address and that the cluster runs",
            ) from None
        if answer.status_code >= 400:
            raise self._refused(method, path, answer)
        return answer

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and read its JSON answer."""
        answer = self.request(method, path, **options)
        try:
            return answer.json()
        except ValueError:
            raise ClusterError(
                f"{self.address}{path} does not answer in JSON",
                "the address must be that of a Ray dashboard (port 8265)",
            ) from None

    def _refused(self, method: str, path: str, answer: httpx.Response) -> Refused:
        status, body = answer.status_code, answer.text
        if status in (401, 403):
            return Refused(
                f"Ray at {self.address} refuses the authentication token (HTTP {status})",
                "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or write it to ~/.ray/auth_token",
                status,
                body,
            )
        return Refused(
            f"Ray at {self.address} refuses {method} {path} (HTTP {status}): {_reason(body)}",
            "the cluster's dashboard log has more",
            status,
            body,
        )


def _reason(body: str) -> str:
    """The last telling line of Ray's answer, which is often a whole traceback."""
    lines = [line.strip() for line in body.splitlines()]
    telling = [line for line in lines if len(line) > 2]
    return telling[-1] if telling else "no reason given"
