"""What a person's account may do, as the API server itself answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from astroctl.kube.client import Kube
from astroctl.kube.resources import ACCESS_REVIEW


@dataclass(frozen=True)
class Purpose:
    """Something that people do, and the rights that it takes.

    Attributes:
        name: For people.
        needed: Whether hardly anything works without it.
        rights: ``verb group/resource[/subresource]``; the core group is empty.
        system: Whether they are wanted in the operator's namespace rather than in the jobs'.
    """

    name: str
    needed: bool
    rights: tuple[str, ...]
    system: bool = False


def _both(resource: str) -> tuple[str, str]:
    """A WebSocket begins as a GET, for which newer API servers want the right to create as well."""
    return f"get {resource}", f"create {resource}"


PURPOSES = (
    Purpose(
        "rights: jobs",
        True,
        tuple(
            f"{verb} astrosage.io/astrojobs"
            for verb in ("get", "list", "watch", "create", "patch", "delete")
        ),
    ),
    Purpose(
        "rights: why a job waits",
        False,
        ("list /events", "list ray.io/rayjobs", "list /pods"),
    ),
    Purpose(
        "rights: logs of the driver",
        False,
        (
            "list /pods",
            *_both("/pods/portforward"),
            "get /pods/log",
            "get /secrets",
        ),
    ),
    Purpose(
        "rights: files on a claim",
        False,
        (
            "get /persistentvolumeclaims",
            *(f"{verb} /pods" for verb in ("create", "get", "list", "delete")),
            *_both("/pods/exec"),
        ),
    ),
    Purpose(
        "rights: serving",
        False,
        (
            *(
                f"{verb} ray.io/rayservices"
                for verb in ("get", "list", "create", "patch", "delete")
            ),
            *(f"{verb} /secrets" for verb in ("get", "create", "delete")),
            "list /pods",
            *_both("/pods/portforward"),
        ),
    ),
    Purpose("rights: the installation", False, ("get /configmaps",), system=True),
    Purpose("rights: pools", False, ("list astrosage.io/gpunodepools",)),
)


def lacking(kube: Kube, purpose: Purpose, namespace: str) -> Iterator[str]:
    """The rights of a purpose that this account does not have in a namespace."""
    for right in purpose.rights:
        verb, _, what = right.partition(" ")
        if not may(kube, verb, what, namespace):
            yield f"{verb} {what.removeprefix('/')}"


def may(kube: Kube, verb: str, what: str, namespace: str | None) -> bool:
    """Whether this account may do something.

    Args:
        kube: The cluster.
        verb: Such as ``get``.
        what: ``group/resource[/subresource]``; the core group is empty.
        namespace: Where; None for cluster-wide.
    """
    group, resource, *sub = what.split("/")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": resource,
        **({"subresource": sub[0]} if sub else {}),
        **({"namespace": namespace} if namespace else {}),
    }
    review = {
        "apiVersion": ACCESS_REVIEW.api_version,
        "kind": ACCESS_REVIEW.kind,
        "spec": {"resourceAttributes": attributes},
    }
    answer = kube.request("POST", ACCESS_REVIEW.path(), review)
    return bool((answer.get("status") or {}).get("allowed"))
