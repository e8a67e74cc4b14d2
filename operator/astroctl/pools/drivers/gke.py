"""Node pools of Google GKE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from astroctl.pools.drivers.base import Busy, Denied, NodeRef, PoolSize, Throttled, owned
from astroctl.pools.drivers.retry import gone
from astrosage.errors import AstroError, ClusterError
from astrosage.spec.pool import PoolReference

T = TypeVar("T")
_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_PATIENCE = 30.0
_SECONDS = 15.0
_OWNER = "GKE's autoscaling sets it (autoscaling.enabled of the node pool)"


class GkeDriver:
    """Sets a node pool's size, or the limits of its autoscaling.

    The node pool itself does not tell its size: its instance groups do, and they also take chosen
    nodes away. Credentials are Google's defaults: workload identity, or a key file. None are sent
    to an `http://` endpoint.

    Args:
        reference: Project, region or zone, cluster, node pool.
    """

    poll_seconds = 20.0

    def __init__(self, reference: PoolReference) -> None:
        from google.auth.transport.requests import AuthorizedSession
        from google.cloud import container_v1

        self._library = container_v1
        self.path = (
            f"projects/{reference.project}/locations/{reference.region}/clusters/"
            f"{reference.cluster}/nodePools/{reference.name}"
        )
        self.name = reference.name
        credentials = _credentials(reference.endpoint)
        self._client = _client(reference.endpoint, credentials)
        self._session: Any = cast(Any, AuthorizedSession)(credentials)
        self._groups: list[str] = []
        self._sizes: list[int] = []
        self._seen: PoolSize | None = None

    @property
    def what(self) -> str:
        """The node pool, for messages."""
        return f"GKE node pool {self.name}"

    def get(self) -> PoolSize:
        """Ask for the size, and who owns it."""
        pool = self._call(
            "container.clusters.get",
            lambda: self._client.get_node_pool(name=self.path, retry=_retry(), timeout=_SECONDS),
        )
        self._groups = list(pool.instance_group_urls)
        self._sizes = [self._target_size(url) for url in self._groups]
        scaling, total = pool.autoscaling, sum(self._sizes)
        zones = max(1, len(self._groups))
        low = scaling.total_min_node_count or scaling.min_node_count * zones
        high = scaling.total_max_node_count or scaling.max_node_count * zones
        errors = self._library.NodePool.Status
        broken = pool.status in (errors.ERROR, errors.RUNNING_WITH_ERROR)
        self._seen = PoolSize(
            current=total,
            desired=total,
            controls="bounds" if scaling.enabled else "replicas",
            minimum=low if scaling.enabled else None,
            maximum=high if scaling.enabled else None,
            owner=_OWNER if scaling.enabled else "",
            names_nodes=True,
            trouble=_words(pool)[:300] if broken else "",
        )
        return self._seen

    def set_size(self, nodes: int) -> None:
        """Set the size; a pool of several zones is spread evenly over them."""
        seen = self._owned_by_us()
        if len(self._groups) == 1:
            # The API counts nodes of each zone: right only where there is one.
            request = {"name": self.path, "node_count": nodes}
            self._call(
                "container.clusters.update",
                lambda: self._client.set_node_pool_size(
                    request=request, retry=_retry(), timeout=_SECONDS
                ),
            )
        else:
            for url, size in zip(self._groups, spread(nodes, self._sizes), strict=True):
                self._compute("update", "POST", f"{url}/resize?size={size}")
        self._seen = replace(seen, desired=nodes)

    def set_bounds(self, minimum: int, maximum: int) -> None:
        """Set the limits of GKE's autoscaling, for all zones together."""
        autoscaling = self._library.NodePoolAutoscaling(
            enabled=True, total_min_node_count=minimum, total_max_node_count=max(1, maximum)
        )
        request = {"name": self.path, "autoscaling": autoscaling}
        self._call(
            "container.clusters.update",
            lambda: self._client.set_node_pool_autoscaling(
                request=request, retry=_retry(), timeout=_SECONDS
            ),
        )

    def remove(self, nodes: Sequence[NodeRef]) -> None:
        """Take the nodes' instances out of their groups, which shrink by them."""
        seen = self._owned_by_us()
        for url in self._groups:
            zone = _zone(url)
            mine = [n.name for n in nodes if f"/{zone}/" in n.provider_id]
            if mine:
                instances = [f"zones/{zone}/instances/{name}" for name in mine]
                body = {"instances": instances, "skipInstancesOnValidationError": True}
                self._compute("update", "POST", f"{url}/deleteInstances", body)
        self._seen = replace(seen, desired=seen.desired - len(nodes))

    def _owned_by_us(self) -> PoolSize:
        seen = self._seen or self.get()
        if seen.controls != "replicas":
            raise owned(self.what, seen.owner)
        return seen

    def _target_size(self, url: str) -> int:
        return int(self._compute("get", "GET", url)["targetSize"])

    def _compute(self, right: str, method: str, url: str, body: Any = None) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response

        def ask() -> dict[str, Any]:
            answer = self._session.request(
                method, url.replace("/instanceGroups/", "/instanceGroupManagers/"), json=body,
                timeout=_SECONDS,
            )  # fmt: skip
            if answer.status_code >= 400:
                raise from_http_response(answer)
            return dict(answer.json())

        return self._call(f"compute.instanceGroupManagers.{right}", lambda: _retry()(ask)())

    def _call(self, permission: str, ask: Callable[[], T]) -> T:
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        try:
            return ask()
        except RetryError as error:
            raise self._explain(permission, error.cause or error) from None
        except GoogleAPICallError as error:
            raise self._explain(permission, error) from None
        except (GoogleAuthError, RequestException) as error:
            raise ClusterError(
                f"{self.what}: {error}",
                "give credentials (workload identity of the operator's service account) and a way "
                "to the API",
            ) from None

    def _explain(self, permission: str, error: Any) -> AstroError:
        from google.api_core import exceptions

        message = f"{self.what}: {getattr(error, 'message', None) or error}"
        if isinstance(error, exceptions.NotFound):
            return gone(self.what)
        if isinstance(error, exceptions.Forbidden | exceptions.Unauthorized):
            return Denied(message, f"allow {permission} to the operator's service account")
        if isinstance(error, exceptions.TooManyRequests):
            return Throttled(
                message, "Google limits how often it is asked; it is asked again later"
            )
        if isinstance(error, exceptions.FailedPrecondition | exceptions.Conflict):
            return Busy(message, "a cluster runs one operation at a time")
        if isinstance(error, exceptions.BadRequest) and "incompatible operation" in message:
            return Busy(message, "a cluster runs one operation at a time")
        return ClusterError(message, f"{permission} failed")


def spread(nodes: int, sizes: Sequence[int]) -> list[int]:
    """Sizes of zones that add up to ``nodes``: grow the smallest, shrink the largest."""
    made = list(sizes)
    while sum(made) < nodes:
        made[made.index(min(made))] += 1
    while sum(made) > nodes:
        made[made.index(max(made))] -= 1
    return made


def _client(endpoint: str | None, credentials: Any) -> Any:
    from google.cloud import container_v1
    from google.cloud.container_v1.services.cluster_manager.transports import (
        ClusterManagerRestTransport,
    )

    if endpoint is None:
        return container_v1.ClusterManagerClient(credentials=credentials)
    address = urlsplit(endpoint)
    transport = ClusterManagerRestTransport(
        host=address.netloc, credentials=credentials, url_scheme=address.scheme
    )
    return container_v1.ClusterManagerClient(transport=transport)


def _credentials(endpoint: str | None) -> Any:
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    if endpoint and endpoint.startswith("http://"):
        return cast(Any, AnonymousCredentials)()
    try:
        return google.auth.default(scopes=_SCOPES)[0]
    except DefaultCredentialsError as error:
        raise ClusterError(
            f"no Google credentials: {str(error).splitlines()[0]}",
            "give the operator's service account workload identity",
        ) from None


def _retry() -> Any:
    """Google's own: exponential pauses with jitter, while it is overloaded or throttles."""
    from google.api_core.exceptions import ServiceUnavailable, TooManyRequests
    from google.api_core.retry import Retry, if_exception_type

    wanted = if_exception_type(ServiceUnavailable, TooManyRequests)
    return Retry(predicate=wanted, initial=0.5, maximum=8.0, multiplier=2.0, timeout=_PATIENCE)


def _zone(url: str) -> str:
    return url.partition("/zones/")[2].partition("/")[0]


def _words(pool: Any) -> str:
    said = [c.message for c in pool.conditions if c.message]
    return "; ".join(said) or pool.status_message or "the node pool is in an error state"
