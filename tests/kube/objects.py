"""Objects that tests need, made through the administrator's client."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

from astroctl.kube.client import Kube
from astroctl.kube.errors import AlreadyExists, Missing
from astroctl.kube.resources import ASTROJOB, NAMESPACE, POD, RAYJOB, SERVICE_ACCOUNT
from astrosage.errors import AstroError

_RBAC = "rbac.authorization.k8s.io"
T = TypeVar("T")
Rules = list[dict[str, Any]]


def eventually(ask: Callable[[], T], seconds: float = 20.0, pause: float = 0.05) -> T:
    """What ``ask`` gives once that is true; until then it may also raise an AstroError."""
    deadline = time.monotonic() + seconds
    while True:
        error: Exception | None = None
        try:
            if found := ask():
                return found
        except AstroError as raised:
            error = raised
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s") from error
        time.sleep(pause)


def make_namespace(kube: Kube, name: str, *, wait: bool = True) -> None:
    """Make a namespace; pods can be made in it when this returns.

    Args:
        kube: The cluster.
        name: Of the namespace.
        wait: For the controllers to make the account; without them it is made here.
    """
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    if not wait:
        account = {"name": "default", "namespace": name}
        kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    # Old servers also want its token before they let a pod in.
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": name},
        "spec": {"containers": [{"name": "probe", "image": "none"}]},
    }
    eventually(lambda: kube.create(pod, dry_run=True), seconds=60)


def remove_namespace(kube: Kube, name: str) -> None:
    """Begin to remove a namespace and all that is in it."""
    with contextlib.suppress(AstroError):
        # Without a kubelet and operators nobody else would end these, and they count for others.
        for pod in kube.list(POD, name):
            path = POD.path(name, pod["metadata"]["name"])
            kube.request("DELETE", path, {"gracePeriodSeconds": 0})
    for kind in (ASTROJOB, RAYJOB):
        with contextlib.suppress(AstroError):
            for obj in kube.list(kind, name):
                if obj["metadata"].get("finalizers"):
                    free = {"metadata": {"finalizers": None}}
                    kube.patch(kind, obj["metadata"]["name"], free, name)
    with contextlib.suppress(AstroError):
        kube.delete(NAMESPACE, name)


def make_account(
    kube: Kube, namespace: str, name: str, rules: Rules, cluster_rules: Rules | None = None
) -> None:
    """Make a service account that may do what the rules say, and nothing else."""
    metadata = {"name": name, "namespace": namespace}
    with contextlib.suppress(AlreadyExists):
        kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    if rules:
        _grant(kube, "Role", metadata, rules, metadata)
    if cluster_rules:
        _grant(kube, "ClusterRole", {"name": f"{namespace}-{name}"}, cluster_rules, metadata)


def _grant(
    kube: Kube, kind: str, metadata: dict[str, str], rules: Rules, account: dict[str, str]
) -> None:
    base = f"/apis/{_RBAC}/v1" + (f"/namespaces/{metadata['namespace']}" if kind == "Role" else "")
    api = {"apiVersion": f"{_RBAC}/v1", "metadata": metadata}
    kube.request("POST", f"{base}/{kind.lower()}s", {**api, "kind": kind, "rules": rules})
    binding = {
        **api,
        "kind": f"{kind}Binding",
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", **account}],
    }
    kube.request("POST", f"{base}/{kind.lower()}bindings", binding)
    # The API server learns of new rights through a watch of its own, a moment later.
    for rule in rules:
        if "resources" in rule:
            eventually(lambda rule=rule: _holds(kube, rule, metadata.get("namespace"), account))


def _holds(
    kube: Kube, rule: dict[str, Any], namespace: str | None, account: dict[str, str]
) -> bool:
    """Whether the last thing that a rule allows is allowed."""
    resource, _, below = rule["resources"][-1].partition("/")
    asked = {
        "group": rule["apiGroups"][-1],
        "resource": resource,
        "subresource": below,
        "verb": rule["verbs"][-1],
        "name": (rule.get("resourceNames") or [""])[-1],
        "namespace": namespace or "",
    }
    who = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": who, "resourceAttributes": asked},
    }
    answer = kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"].get("allowed"))


def token(kube: Kube, namespace: str, account: str, seconds: int = 3600) -> str:
    """A token of a service account."""
    answer = kube.request(
        "POST",
        f"{SERVICE_ACCOUNT.path(namespace, account)}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        },
    )
    return str(answer["status"]["token"])


def gone(kube: Kube, kind: Any, name: str, namespace: str) -> bool:
    """Whether an object is not there (any more)."""
    try:
        kube.get(kind, name, namespace)
    except Missing:
        return True
    return False
