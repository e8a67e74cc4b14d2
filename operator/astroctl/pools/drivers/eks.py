"""Managed node groups of Amazon EKS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from astroctl.pools.drivers import owners
from astroctl.pools.drivers.base import Busy, Denied, NodeRef, PoolSize, Throttled, owned
from astroctl.pools.drivers.retry import gone
from astrosage.errors import AstroError, ClusterError
from astrosage.spec.pool import PoolReference

T = TypeVar("T")
_ATTEMPTS = 5
_SECONDS = 10
# Making a client loads its API's model and fills caches that are not safe to share.
_MAKING = threading.Lock()
_THROTTLES = (
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
)
_DENIALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


class EksDriver:
    """Sets a node group's scaling configuration; takes chosen nodes out of its Auto Scaling group.

    Credentials are boto3's: variables, profile, or the service account's role.

    Args:
        reference: Cluster, node group, region.
    """

    poll_seconds = 20.0

    def __init__(self, reference: PoolReference) -> None:
        import boto3
        from botocore.config import Config

        self.cluster, self.name = str(reference.cluster), reference.name
        self._options: dict[str, Any] = {
            "region_name": reference.region,
            "endpoint_url": reference.endpoint,
            "config": Config(
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                connect_timeout=_SECONDS,
                read_timeout=_SECONDS,
            ),
        }
        with _MAKING:
            self._session = boto3.Session()
        self._clients: dict[str, Any] = {}
        self._seen: PoolSize | None = None

    @property
    def what(self) -> str:
        """The node group, for messages."""
        return f"EKS node group {self.cluster}/{self.name}"

    def get(self) -> PoolSize:
        """Ask for the size, and who owns it."""
        group = self._describe()
        scaling = group["scalingConfig"]
        issues = [
            f"{i.get('code')}: {i.get('message')}"
            for i in (group.get("health") or {}).get("issues") or []
        ]
        owner = owners.eks_tags(group.get("tags") or {})
        self._seen = PoolSize(
            current=int(scaling["desiredSize"]),
            desired=int(scaling["desiredSize"]),
            controls="bounds" if owner else "replicas",
            minimum=int(scaling["minSize"]),
            maximum=int(scaling["maxSize"]),
            owner=owner,
            names_nodes=True,
            trouble="; ".join(issues)[:300],
        )
        return self._seen

    def set_size(self, nodes: int) -> None:
        """Set the desired size; the group's own limits give way to the pool's."""
        seen = self._owned_by_us()
        scaling = {
            "desiredSize": nodes,
            "minSize": min(seen.minimum or 0, nodes),
            "maxSize": max(seen.maximum or 1, nodes, 1),
        }
        self._update(scaling)
        self._seen = replace(seen, desired=nodes)

    def set_bounds(self, minimum: int, maximum: int) -> None:
        """Set the limits, and never the desired size: a cluster-autoscaler owns that."""
        self._update({"minSize": minimum, "maxSize": max(1, maximum)})

    def remove(self, nodes: Sequence[NodeRef]) -> None:
        """Take the nodes' instances out of their Auto Scaling group, which shrinks by them."""
        seen = self._owned_by_us()
        left = seen.desired - len(nodes)
        if seen.minimum is not None and left < seen.minimum:
            self._update({"minSize": max(0, left), "maxSize": max(seen.maximum or 1, 1)})
        for node in nodes:
            self._terminate(node)
        self._seen = replace(seen, desired=left)

    def _owned_by_us(self) -> PoolSize:
        seen = self._seen or self.get()
        if seen.controls != "replicas":
            raise owned(self.what, seen.owner)
        return seen

    def _describe(self) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            answer = self._client("eks").describe_nodegroup(
                clusterName=self.cluster, nodegroupName=self.name
            )
            return dict(answer["nodegroup"])

        return self._call("eks:DescribeNodegroup", ask)

    def _update(self, scaling: dict[str, int]) -> None:
        self._call(
            "eks:UpdateNodegroupConfig",
            lambda: self._client("eks").update_nodegroup_config(
                clusterName=self.cluster, nodegroupName=self.name, scalingConfig=scaling
            ),
        )

    def _terminate(self, node: NodeRef) -> None:
        instance = node.provider_id.rpartition("/")[2]
        if not instance.startswith("i-"):
            raise gone(f"the instance of node {node.name} (providerID `{node.provider_id}`)")
        try:
            self._call(
                "autoscaling:TerminateInstanceInAutoScalingGroup",
                lambda: self._client("autoscaling").terminate_instance_in_auto_scaling_group(
                    InstanceId=instance, ShouldDecrementDesiredCapacity=True
                ),
            )
        except ClusterError as error:
            # An earlier try was cut short after this one had gone.
            if "not found" not in error.message.lower():
                raise

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            with _MAKING:
                self._clients[service] = self._session.client(service, **self._options)
        return self._clients[service]

    def _call(self, permission: str, ask: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return ask()
        except ClientError as error:
            raise self._explain(permission, error) from None
        except (BotoCoreError, ResponseParserError) as error:
            raise ClusterError(
                f"{self.what}: {error}",
                "give credentials (a role for the operator's service account), reference.region, "
                "and a way to the API",
            ) from None

    def _explain(self, permission: str, error: Any) -> AstroError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        words = str(error.response.get("Error", {}).get("Message", "")) or code
        message = f"{self.what}: {words}"
        if code == "ResourceNotFoundException":
            return gone(self.what)
        if code in _THROTTLES:
            return Throttled(message, "AWS limits how often it is asked; it is asked again later")
        if code in _DENIALS:
            return Denied(message, f"allow {permission} to the operator's role")
        if code in ("ResourceInUseException", "ScalingActivityInProgress"):
            return Busy(message, "an earlier change is still under way")
        return ClusterError(message, f"{permission} failed ({code})")
