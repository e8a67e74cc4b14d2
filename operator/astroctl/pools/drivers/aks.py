"""Node pools (agent pools) of Azure AKS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from astroctl.pools.drivers.base import Busy, Denied, NodeRef, PoolSize, Throttled, owned
from astroctl.pools.drivers.retry import gone
from astrosage.errors import AstroError, ClusterError
from astrosage.spec.pool import PoolReference

T = TypeVar("T")
_ATTEMPTS = 4
_LONGEST_PAUSE = 8.0
_SECONDS = 15.0
_RIGHT = "Microsoft.ContainerService/managedClusters/agentPools"
_OWNER = "the cluster autoscaler of AKS sets it (enableAutoScaling of the node pool)"
_AT_WORK = ("Updating", "Scaling", "Creating", "Upgrading", "Deleting", "Starting", "Stopping")


class AksDriver:
    """Sets a node pool's count, or the limits of its autoscaler; deletes chosen machines.

    Credentials are Azure's defaults: workload identity, managed identity, or variables. None are
    sent to an `http://` endpoint.

    Args:
        reference: Subscription, resource group, cluster, node pool.
    """

    poll_seconds = 20.0

    def __init__(self, reference: PoolReference) -> None:
        self.name = reference.name
        self._place = (str(reference.resource_group), str(reference.cluster), reference.name)
        self._client = _client(reference)
        self._pool: Any = None
        self._seen: PoolSize | None = None

    @property
    def what(self) -> str:
        """The node pool, for messages."""
        return f"AKS node pool {self._place[1]}/{self.name}"

    def get(self) -> PoolSize:
        """Ask for the size, and who owns it."""
        pool = self._call("read", lambda: self._client.agent_pools.get(*self._place))
        self._pool = pool
        count, auto = int(pool.count or 0), bool(pool.enable_auto_scaling)
        failed = pool.provisioning_state == "Failed"
        self._seen = PoolSize(
            current=count,
            desired=count,
            controls="bounds" if auto else "replicas",
            minimum=pool.min_count if auto else None,
            maximum=pool.max_count if auto else None,
            owner=_OWNER if auto else "",
            names_nodes=True,
            trouble="the last change failed (provisioningState Failed)" if failed else "",
        )
        return self._seen

    def set_size(self, nodes: int) -> None:
        """Set the count, if nobody changed the node pool since it was read."""
        seen = self._owned_by_us()
        self._write(count=nodes)
        self._seen = replace(seen, desired=nodes)

    def set_bounds(self, minimum: int, maximum: int) -> None:
        """Set the limits of the autoscaler, and never the count."""
        if self._pool is None:
            self.get()
        self._write(min_count=minimum, max_count=max(1, maximum))

    def remove(self, nodes: Sequence[NodeRef]) -> None:
        """Delete the nodes' machines; the count shrinks by them."""
        from azure.mgmt.containerservice.models import AgentPoolDeleteMachinesParameter

        seen = self._owned_by_us()
        self._check_rest()
        machines = AgentPoolDeleteMachinesParameter(machine_names=[n.name for n in nodes])
        self._call(
            "deleteMachines/action",
            lambda: self._client.agent_pools.begin_delete_machines(
                *self._place, machines, polling=False
            ),
        )
        self._seen = replace(seen, desired=seen.desired - len(nodes))

    def _owned_by_us(self) -> PoolSize:
        seen = self._seen or self.get()
        if seen.controls != "replicas":
            raise owned(self.what, seen.owner)
        return seen

    def _check_rest(self) -> None:
        if self._pool.provisioning_state in _AT_WORK:
            raise Busy(
                f"{self.what} is {self._pool.provisioning_state}",
                "an earlier change is still under way",
            )

    def _write(self, **fields: int) -> None:
        """Put the whole node pool, as the API wants it, with a few fields changed."""
        from azure.core import MatchConditions

        self._check_rest()
        for field, value in fields.items():
            setattr(self._pool, field, value)
        tag = self._pool.e_tag
        guard = {"etag": tag, "match_condition": MatchConditions.IfNotModified} if tag else {}
        self._call(
            "write",
            lambda: self._client.agent_pools.begin_create_or_update(
                *self._place, self._pool, polling=False, **guard
            ),
        )

    def _call(self, right: str, ask: Callable[[], T]) -> T:
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            return ask()
        except HttpResponseError as error:
            raise self._explain(right, error) from None
        except AzureError as error:
            raise ClusterError(
                f"{self.what}: {str(error).splitlines()[0]}",
                "give credentials (workload identity of the operator's service account) and a way "
                "to the API",
            ) from None

    def _explain(self, right: str, error: Any) -> AstroError:
        inner = getattr(error, "error", None)
        code = str(getattr(inner, "code", "") or "")
        words = str(getattr(inner, "message", "") or error.message or "").splitlines()
        message = f"{self.what}: {words[0] if words else f'HTTP {error.status_code}'}"
        if error.status_code == 404:
            return gone(self.what)
        if error.status_code in (401, 403):
            return Denied(message, f"allow {_RIGHT}/{right} to the operator's identity")
        if error.status_code == 429:
            return Throttled(message, "Azure limits how often it is asked; it is asked again later")
        if error.status_code in (409, 412):
            return Busy(message, f"an earlier change is still under way ({code or 'conflict'})")
        return ClusterError(message, f"{_RIGHT}/{right} failed ({code or error.status_code})")


def _client(reference: PoolReference) -> Any:
    from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.containerservice import ContainerServiceClient

    class Bounded(RetryPolicy):  # type: ignore[misc]
        """Azure's own, but it leaves a wait of minutes to the next round."""

        def is_retry(self, settings: Any, response: Any) -> bool:
            wait = self.get_retry_after(response)
            again: bool = super().is_retry(settings, response)
            return again and not (wait is not None and wait > _LONGEST_PAUSE)

    options: dict[str, Any] = {
        "retry_policy": Bounded(
            retry_total=_ATTEMPTS, retry_backoff_factor=0.5, retry_backoff_max=_LONGEST_PAUSE
        ),
        "connection_timeout": _SECONDS,
        "read_timeout": _SECONDS,
    }
    if reference.endpoint:
        options["base_url"] = reference.endpoint
        if reference.endpoint.startswith("http://"):
            options["authentication_policy"] = SansIOHTTPPolicy()
    return ContainerServiceClient(DefaultAzureCredential(), str(reference.subscription), **options)
