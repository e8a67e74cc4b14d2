"""What every driver can do, and what goes wrong with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from astrosage.errors import ClusterError, ConflictError, NotFoundError, SpecError

Controls = Literal["replicas", "bounds", "limits", "nothing"]
"""What may be set: `replicas` the number of nodes; `bounds` the limits within which another
autoscaler sets that number; `limits` the GPUs that Karpenter may provide; `nothing` where someone
else sets the number and keeps no limits."""


@dataclass(frozen=True, slots=True)
class PoolSize:
    """What the mechanism says of its nodes."""

    current: int
    """Nodes there are."""
    desired: int
    """Nodes there shall be; with `limits`, as many as there are."""
    controls: Controls = "replicas"
    ready: int | None = None
    """Nodes that work, where the mechanism knows."""
    minimum: int | None = None
    """The lower limit that the mechanism or the other autoscaler has; None: none."""
    maximum: int | None = None
    """The upper limit, likewise."""
    owner: str = ""
    """Who else decides the number of nodes, and how that shows; empty: nobody."""
    names_nodes: bool = False
    """:meth:`Driver.remove` takes exactly the nodes it is told, or no busier ones."""
    trouble: str = ""
    """The provider's words where it cannot deliver."""


@dataclass(frozen=True, slots=True)
class NodeRef:
    """A node, by all the names that mechanisms have for it."""

    name: str
    provider_id: str = ""
    """Such as `aws:///eu-west-1a/i-0abc`."""
    machine: tuple[str, str] | None = None
    """Namespace and name of its Cluster API Machine."""


class Driver(Protocol):
    """One pool's mechanism. Methods raise AstroErrors only."""

    poll_seconds: float
    """How often asking is decent while nothing changes."""

    def get(self) -> PoolSize:
        """Ask for the size."""
        ...

    def set_size(self, nodes: int) -> None:
        """Ask for that many nodes.

        Raises:
            Owned: If somebody else owns the number.
            Changed: If the number is not the one that :meth:`get` told last.
        """
        ...

    def set_bounds(self, minimum: int, maximum: int) -> None:
        """Set the limits of whoever owns the number."""
        ...

    def remove(self, nodes: Sequence[NodeRef]) -> None:
        """Take these nodes away and ask for that many fewer.

        Doing it again after it was cut short takes away no more than these.
        """
        ...


class ReferenceGone(NotFoundError):
    """What the pool refers to does not exist."""


class Denied(ClusterError):
    """The account may not do this; the message names the permission."""

    retryable = False


class Throttled(ClusterError):
    """The API asks to wait, after tries with growing pauses."""


class Busy(ClusterError):
    """The mechanism is at work on an earlier change; the next round tries again."""


class Owned(ConflictError):
    """Somebody else owns the number of nodes."""


class ExtraMissing(SpecError):
    """The driver's library is not installed."""


def extra_missing(extra: str, library: str) -> ExtraMissing:
    """The error for a driver without its library."""
    return ExtraMissing(
        f"driver {extra} needs {library}, which is not installed",
        f"pip install 'astrosage[{extra}]', or an operator image that has it",
    )


def owned(what: str, owner: str) -> Owned:
    """The error for setting a number that is not ours."""
    return Owned(
        f"the number of nodes of {what} is not ours to set: {owner}",
        "change its limits instead, or take it out of the other's hands",
    )
