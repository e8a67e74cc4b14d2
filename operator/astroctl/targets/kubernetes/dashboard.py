"""The dashboard of a job's Ray head, reached through the API server.

By port-forward, as ``kubectl port-forward`` does: it goes by way of the kubelet, so that network
policies and firewalls between API server and pods do not matter. Where the account may not do
that, through the API server's service proxy, which hands Ray's token on in a header of its own
(the proxy takes the usual one for itself).
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import ApiError, Forbidden, Missing
from astroctl.kube.resources import POD, SECRET
from astroctl.render.extras import TOKEN_KEY
from astroctl.render.names import RAY_CLUSTER, RAY_NODE_TYPE
from astroctl.targets.http import Http, Refused
from astroctl.targets.jobs_api import JobsApi
from astrosage.errors import AstroError, ClusterError

PORT = 8265
_TIMEOUT_SECONDS = 20.0


class Proxied(Http):
    """A dashboard behind the API server's service proxy.

    Args:
        kube: The cluster.
        namespace: Of the Ray cluster.
        service: Its head service.
        token: Ray's token.
    """

    def __init__(self, kube: Kube, namespace: str, service: str, token: str | None) -> None:
        path = f"/api/v1/namespaces/{namespace}/services/http:{service}:{PORT}/proxy"
        super().__init__(f"{kube.host}{path}", None, _TIMEOUT_SECONDS)
        self._kube, self._path = kube, path
        self._token = {"X-Ray-Authorization": f"Bearer {token}"} if token else {}

    def request(
        self, method: str, path: str, *, timeout: float | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request.

        Raises:
            ClusterError: If the head cannot be reached.
            Refused: If it answers with an error.
        """
        try:
            answer = self._kube.request(
                method,
                self._path + path,
                options.get("json"),
                timeout=(5.0, timeout or _TIMEOUT_SECONDS),
                stream=True,
                headers=self._token,
                **(options.get("params") or {}),
            )
        except Missing as error:
            raise Refused(error.message, status=404) from None
        except Forbidden:
            raise
        except ApiError as error:
            raise ClusterError(f"the Ray head does not answer: {error.message}") from None
        try:
            return httpx.Response(answer.status, content=answer.read())
        finally:
            answer.release_conn()


@contextlib.contextmanager
def dashboard(kube: Kube, namespace: str, cluster: str, token: str | None) -> Iterator[JobsApi]:
    """The Jobs API of a Ray cluster, while the block runs.

    Args:
        kube: The Kubernetes cluster.
        namespace: Where the Ray cluster is.
        cluster: Its name.
        token: Ray's token.

    Raises:
        ClusterError: If it can be reached in neither way.
    """
    from astroctl.kube.forward import forward

    pod = head_pod(kube, namespace, cluster)
    if pod is None:
        raise ClusterError(f"the head pod of RayCluster {cluster} is not there (yet)")
    said: list[str] = []
    with contextlib.ExitStack() as stack:
        try:
            way = forward(kube, namespace, pod["metadata"]["name"], PORT, say=said.append)
            port = stack.enter_context(way)
            api = JobsApi(Http(f"http://127.0.0.1:{port}", token, _TIMEOUT_SECONDS))
            api.version()
        except AstroError as forwarding:
            reason = said[0] if said else forwarding.message
            api = JobsApi(Proxied(kube, namespace, f"{cluster}-head-svc", token))
            try:
                api.version()
            except AstroError as error:
                raise ClusterError(
                    f"the Ray head {pod['metadata']['name']} cannot be reached: {reason}; by the "
                    f"service proxy: {error.message}",
                    "`astroctl doctor --target kubernetes` lists the rights that this needs",
                ) from None
        yield api


def head_pod(kube: Kube, namespace: str, cluster: str) -> Object | None:
    """The head pod of a Ray cluster."""
    labels = f"{RAY_CLUSTER}={cluster},{RAY_NODE_TYPE}=head"
    return next(iter(kube.list(POD, namespace, labels=labels)), None)


def ray_token(kube: Kube, namespace: str, job: str) -> str | None:
    """The token of a job's Ray clusters; None where there is none.

    Raises:
        Forbidden: If this account may not read it.
    """
    found = kube.find(SECRET, f"{job}-ray-token", namespace)
    raw = ((found or {}).get("data") or {}).get(TOKEN_KEY)
    return base64.b64decode(raw).decode() if raw else None
