"""WebSockets to the API server, opened with the official library: exec and port forwarding."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

from astroctl.kube.client import Kube
from astroctl.kube.errors import ApiError, explain
from astroctl.kube.resources import POD

_OPEN_SECONDS = 30.0


def connect(
    kube: Kube,
    namespace: str,
    pod: str,
    subresource: str,
    query: list[tuple[str, str]],
    protocols: str | None = None,
) -> Any:
    """Open a WebSocket to a pod.

    Args:
        kube: The cluster.
        namespace: The pod's.
        pod: Its name.
        subresource: ``exec`` or ``portforward``.
        query: What it wants to know.
        protocols: Subprotocols to offer; default: those of exec.

    Returns:
        The library's ``websocket.WebSocket``.

    Raises:
        AstroError: As :func:`astroctl.kube.errors.explain` tells, if it is refused.
        ApiError: If the API server cannot be reached.
    """
    from kubernetes.stream.ws_client import create_websocket, get_websocket_url
    from websocket import WebSocketBadStatusException, WebSocketException

    path = POD.path(namespace, quote(pod), subresource)
    headers: dict[str, str] = {}
    kube.api.update_params_for_auth(headers, [], ["BearerToken"])
    headers = {name.lower(): value for name, value in headers.items()}
    if protocols:
        headers["sec-websocket-protocol"] = protocols
    url = get_websocket_url(kube.host + path, query)
    asked = f"{subresource} of pod {namespace}/{pod}"
    try:
        return _within(lambda: create_websocket(kube.api.configuration, url, headers), asked)
    except WebSocketBadStatusException as error:
        raise explain(error.status_code, error.resp_body or b"", asked) from None
    except (WebSocketException, OSError) as error:
        raise ApiError(
            f"{asked}: no connection: {error or type(error).__name__}",
            "the API server, or a proxy before it, must let WebSockets through",
        ) from None


def _within(make: Any, asked: str) -> Any:
    """What ``make`` gives; the library itself sets no limit to how long opening may take."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = make()
        except Exception as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_OPEN_SECONDS)
    if "error" in outcome:
        raise outcome["error"]
    if "value" not in outcome:
        raise ApiError(f"{asked}: no answer after {_OPEN_SECONDS:.0f} s", "try again")
    return outcome["value"]
