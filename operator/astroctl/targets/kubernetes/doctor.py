"""The checks of ``astroctl doctor --target kubernetes``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from astroctl.cli.checks import Result
from astroctl.cli.output import ago
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden, Missing
from astroctl.kube.resources import CLAIM, CONFIGMAP, LEASE, LOCAL_QUEUE, NODE, POOL
from astroctl.kube.times import seconds
from astroctl.render.crd import VERSION_ANNOTATION, crds
from astroctl.render.settings import CONFIG_MAP
from astroctl.render.storage import claim_and_path
from astroctl.targets.kubernetes import precheck, rights, versions
from astroctl.targets.kubernetes.references import visible
from astroctl.targets.kubernetes.target import KubernetesTarget, system_namespace
from astrosage import __version__
from astrosage.errors import AstroError
from astrosage.plan.preflight import check_storage

SECTIONS = ("rights", "nodes", "pools", "storage", "kueue")
_INSTALL = "an administrator: astroctl install"
_GPUS = ("nvidia.com/gpu", "amd.com/gpu", "habana.ai/gaudi", "gpu.intel.com/i915")


def run_checks(
    target: KubernetesTarget,
    *,
    storage: str | None = None,
    write_test: bool = False,
    skip: tuple[str, ...] = (),
) -> list[Result]:
    """All checks, in the order of a newcomer's trouble.

    Args:
        target: The cluster.
        storage: The storage to check; default: the installation's.
        write_test: Also write to a claim, through a pod.
        skip: Sections to leave out, see ``SECTIONS``.
    """
    first = list(_cluster(target))
    if any(r.state == "fail" for r in first):
        return first
    sections: dict[str, Callable[[], Iterator[Result]]] = {
        "definitions": lambda: _definitions(target.kube),
        "kuberay": lambda: _kuberay(target.kube),
        "operator": lambda: _operator(target),
        "rights": lambda: _rights(target),
        "nodes": lambda: _nodes(target.kube),
        "pools": lambda: _pools(target.kube),
        "storage": lambda: _storage(target, storage, write_test),
        "kueue": lambda: _kueue(target),
    }
    for name, section in sections.items():
        if name in skip:
            continue
        try:
            first += section()
        except AstroError as error:
            first.append(Result(name, "fail", error.message, error.hint))
    return first


def _cluster(target: KubernetesTarget) -> Iterator[Result]:
    try:
        kube = target.kube
        found = kube.version()
    except AstroError as error:
        yield Result("cluster", "fail", error.message, error.hint)
        return
    yield Result("cluster", "ok", f"Kubernetes {found} at {kube.host} (context {kube.context})")
    yield Result("namespace", "ok", target.namespace)


def _definitions(kube: Kube) -> Iterator[Result]:
    there = versions.served(kube, "astrosage.io/v1alpha1") or []
    for ours in crds():
        kind, name = ours["spec"]["names"]["kind"], ours["metadata"]["name"]
        if ours["spec"]["names"]["plural"] not in there:
            yield Result(kind, "fail", "the cluster does not know it", _INSTALL)
            continue
        theirs = versions.definition(kube, name)
        if theirs is None:
            yield Result(kind, "ok", "known; its version may not be seen by this account")
            continue
        annotations = theirs["metadata"].get("annotations") or {}
        version = annotations.get(VERSION_ANNOTATION) or "unknown"
        missing = versions.unknown_fields(kube, ours) or []
        if missing:
            more = f" and {len(missing) - 1} more fields" if len(missing) > 1 else ""
            said = f"version {version}; this astroctl ({__version__}) also has {missing[0]}{more}"
            yield Result(kind, "fail", said, _INSTALL)
        else:
            yield Result(kind, "ok", f"version {version}, with all fields of {__version__}")


def _kuberay(kube: Kube) -> Iterator[Result]:
    if "rayjobs" not in (versions.served(kube, "ray.io/v1") or []):
        yield Result("KubeRay", "fail", "the cluster does not know RayJobs", _INSTALL)
        return
    operators = versions.kuberay_operators(kube)
    if operators is None:
        yield Result("KubeRay", "ok", "RayJobs are known; its operator may not be seen")
    elif not operators:
        yield Result(
            "KubeRay", "warn", "RayJobs are known, but no operator was found by label", _INSTALL
        )
    for one in operators or []:
        version = versions.image_version(one)
        where = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        ready = int((one.get("status") or {}).get("readyReplicas") or 0)
        found = versions.numbers(version)
        old = bool(found) and found < versions.KUBERAY_NEEDED
        text = f"{version or 'unknown version'} in {where}, {ready} ready"
        remedy = f"{versions.KUBERAY_VERSION} is needed; {_INSTALL}" if old else ""
        if not ready:
            remedy = remedy or f"kubectl -n {one['metadata']['namespace']} get pods"
        yield Result("KubeRay", "fail" if old or not ready else "ok", text, remedy)


def _operator(target: KubernetesTarget) -> Iterator[Result]:
    kube, namespace = target.kube, system_namespace()
    look = f"kubectl -n {namespace} get pods; ASTROCTL_SYSTEM_NAMESPACE names another namespace"
    try:
        lease = kube.get(LEASE, precheck.LEASE_NAME, namespace)
    except Forbidden:
        yield Result("operator", "warn", f"its lease in {namespace} may not be seen")
    except Missing:
        yield Result("operator", "fail", f"none leads in {namespace}", f"{_INSTALL}; {look}")
    else:
        dead = list(precheck.operator_warnings(kube))
        spec = lease.get("spec") or {}
        age = ago(max(0.0, time.time() - seconds(spec.get("renewTime"))))
        who = spec.get("holderIdentity") or "nobody"
        yield Result("operator", "fail" if dead else "ok", f"{who} leads, renewed {age}", look)
    yield from _settings(target, namespace)


def _settings(target: KubernetesTarget, namespace: str) -> Iterator[Result]:
    place = f"ConfigMap {namespace}/{CONFIG_MAP}"
    try:
        there = target.kube.find(CONFIGMAP, CONFIG_MAP, namespace) is not None
    except Forbidden:
        yield Result("settings", "warn", f"{place} may not be seen; built-in ones are assumed")
        return
    if not there:
        yield Result("settings", "warn", f"no {place}; built-in ones are assumed", _INSTALL)
        return
    settings = target.settings
    yield Result("settings", "ok", f"image {settings.image}, Ray {settings.ray_version}")
    try:
        precheck.check_namespace(target.namespace, settings)
    except AstroError as error:
        yield Result("watched", "fail", error.message, error.hint)


def _rights(target: KubernetesTarget) -> Iterator[Result]:
    for purpose in rights.PURPOSES:
        namespace = system_namespace() if purpose.system else target.namespace
        missing = list(rights.lacking(target.kube, purpose, namespace))
        if not missing:
            yield Result(purpose.name, "ok", f"{len(purpose.rights)} of {len(purpose.rights)}")
            continue
        state = "fail" if purpose.needed else "warn"
        found = f"this account may not {', '.join(missing)} in {namespace}"
        yield Result(purpose.name, state, found, "have it granted (Role and RoleBinding)")


def _nodes(kube: Kube) -> Iterator[Result]:
    try:
        nodes = kube.list(NODE)
    except Forbidden:
        yield Result("nodes", "warn", "they may not be seen by this account")
        return
    ready = [n for n in nodes if _is_true(n, "Ready") and not n["spec"].get("unschedulable")]
    text = f"{len(ready)} of {len(nodes)} ready"
    yield Result(
        "nodes", "ok" if ready else "fail", text, "" if ready else "kubectl describe nodes"
    )
    if len(ready) < len(nodes):
        names = [n["metadata"]["name"] for n in nodes if n not in ready]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield Result("nodes not ready", "warn", shown, "kubectl describe nodes")
    yield _gpus(kube, ready)


def _gpus(kube: Kube, nodes: list[Object]) -> Result:
    pools = visible(lambda: kube.list(POOL)) or []
    named = {p["spec"].get("gpuResource") for p in pools} | set(_GPUS)
    parts = []
    for resource in sorted(n for n in named if n):
        counts = [int(_allocatable(n).get(resource) or 0) for n in nodes]
        if sum(counts):
            having = sum(c > 0 for c in counts)
            parts.append(f"{sum(counts)} {resource} on {having} nodes")
    if parts:
        return Result("GPUs", "ok", "; ".join(parts))
    if pools:
        return Result("GPUs", "ok", "none now; pools bring them")
    return Result("GPUs", "warn", "no node has any", "is the GPU vendor's device plugin installed?")


def _allocatable(node: Object) -> dict[str, Any]:
    return dict((node.get("status") or {}).get("allocatable") or {})


def _pools(kube: Kube) -> Iterator[Result]:
    found = visible(lambda: kube.list(POOL))
    if found is None:
        yield Result("pools", "warn", "they may not be seen by this account")
        return
    if not found:
        yield Result("pools", "ok", "none")
    for pool in found:
        name, status = pool["metadata"]["name"], pool.get("status") or {}
        ready = next((c for c in status.get("conditions") or [] if c["type"] == "Ready"), None)
        nodes = f"{status.get('ready', 0)} of at most {pool['spec']['maxNodes']} nodes"
        if ready is None:
            remedy = "is `pools.enabled` set in the chart?"
            yield Result(f"pool {name}", "warn", "no operator has looked at it", remedy)
        elif ready["status"] == "True":
            yield Result(f"pool {name}", "ok", nodes)
        else:
            said = f"{ready['reason']}: {ready.get('message', '')}"
            yield Result(f"pool {name}", "fail", said, f"astroctl pools describe {name}")


def _storage(target: KubernetesTarget, asked: str | None, write_test: bool) -> Iterator[Result]:
    storage = asked or target.settings.storage
    if not storage:
        yield Result("storage", "ok", "the installation has none of its own; jobs name theirs")
        return
    if not storage.startswith("pvc://"):
        try:
            check_storage(storage)
        except AstroError as error:
            yield Result("storage", "fail", f"from here: {error.message}", error.hint)
        else:
            yield Result("storage", "ok", f"{storage} can be written from here")
        return
    name = claim_and_path(storage)[0]
    try:
        claim = target.kube.get(CLAIM, name, target.namespace)
    except Missing:
        said = f"there is no PersistentVolumeClaim {name} in {target.namespace}"
        yield Result("storage", "fail", said, "make it, with ReadWriteMany")
        return
    except Forbidden:
        yield Result("storage", "warn", f"PersistentVolumeClaim {name} may not be seen")
        return
    yield _claim(name, claim)
    if write_test:
        yield _write_test(target, name)


def _claim(name: str, claim: Object) -> Result:
    status = claim.get("status") or {}
    modes = ", ".join(status.get("accessModes") or claim["spec"].get("accessModes") or [])
    kind = claim["spec"].get("storageClassName") or "the default class"
    text = f"claim {name}: {status.get('phase')}, {modes}, {kind}"
    if status.get("phase") != "Bound":
        return Result("storage", "warn", text, f"kubectl describe pvc {name}")
    if "ReadWriteMany" not in modes:
        return Result("storage", "warn", text, "several nodes need ReadWriteMany")
    return Result("storage", "ok", text)


def _write_test(target: KubernetesTarget, claim: str) -> Result:
    from astroctl.kube.files import ClaimFiles

    name, text = f".doctor-{time.time_ns()}", b"written by astroctl doctor\n"
    try:
        with ClaimFiles(target.kube, target.namespace, claim, target.settings) as files:
            files.write(name, text)
            same = files.read(name) == text
            files.remove(name)
    except AstroError as error:
        return Result("storage write", "fail", error.message, error.hint)
    return Result("storage write", "ok" if same else "fail", f"claim {claim}, through a pod")


def _kueue(target: KubernetesTarget) -> Iterator[Result]:
    if versions.served(target.kube, LOCAL_QUEUE.api_version) is None:
        yield Result("Kueue", "ok", "not installed; jobs with `queue` need it")
        return
    queues = visible(lambda: target.kube.list(LOCAL_QUEUE, target.namespace))
    if queues is None:
        yield Result("Kueue", "warn", "installed; its queues may not be seen by this account")
    elif not queues:
        yield Result("Kueue", "ok", f"installed; no LocalQueue in {target.namespace}")
    for queue in queues or []:
        name = queue["metadata"]["name"]
        status = queue.get("status") or {}
        conditions = status.get("conditions") or []
        active = next((c for c in conditions if c["type"] == "Active"), None)
        waiting = f"{status.get('pendingWorkloads', 0)} waiting"
        if active is not None and active["status"] != "True":
            said = f"{active.get('reason')}: {active.get('message')}"
            yield Result(f"queue {name}", "fail", said, "kubectl describe localqueue " + name)
        else:
            yield Result(f"queue {name}", "ok", waiting)


def _is_true(obj: Object, kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
