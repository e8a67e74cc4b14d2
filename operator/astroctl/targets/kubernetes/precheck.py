"""What can be known to be wrong before a job is created on a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists, Forbidden, Invalid, Missing, NoSuchKind
from astroctl.kube.plain import plain
from astroctl.kube.resources import ASTROJOB, LEASE, POOL
from astroctl.kube.times import seconds
from astroctl.render.settings import Settings
from astroctl.runs.changes import changes
from astroctl.targets.kubernetes.manifests import Manifests, pool_names
from astroctl.targets.kubernetes.references import visible
from astroctl.targets.kubernetes.target import system_namespace, without_kind
from astrosage.errors import ClusterError, ConflictError, NotFoundError, SpecError
from astrosage.spec.base import did_you_mean
from astrosage.spec.changes import Change, listed
from astrosage.spec.job import AstroJob
from astrosage.spec.load import parse
from astrosage.spec.pool import GPUNodePool
from astrosage.spec.stages import Stage

LEASE_NAME = "astrosage-operator"
_DEAD_SECONDS = 60.0


def pools(kube: Kube, job: AstroJob, stages: Sequence[Stage]) -> dict[str, GPUNodePool]:
    """The pools that a job names, and their fallbacks; those that may not be seen are left out.

    Raises:
        NotFoundError: If one does not exist.
    """
    found: dict[str, GPUNodePool] = {}
    for field, name in pool_names(job, stages):
        try:
            found[name] = pool_of(kube.get(POOL, name))
            fallback = found[name].spec.fallback
            if fallback:
                found[fallback] = pool_of(kube.get(POOL, fallback))
        except Forbidden:
            continue
        except NoSuchKind:
            raise NotFoundError(
                f"{field}: the cluster has no GPUNodePools",
                "leave `pool` out and use kubernetes.nodeSelector, or have them installed: "
                "`astroctl install`",
            ) from None
        except Missing:
            known = [p["metadata"]["name"] for p in visible(lambda: kube.list(POOL)) or []]
            raise NotFoundError(
                f"{field}: there is no GPUNodePool `{name}`", did_you_mean(name, known)
            ) from None
    return found


def pool_of(obj: Object) -> GPUNodePool:
    """A GPUNodePool, checked."""
    try:
        return GPUNodePool.model_validate(plain(obj))
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise SpecError(
            f"GPUNodePool {obj['metadata']['name']}: {reason}", "mend the pool"
        ) from None


def check_namespace(namespace: str, settings: Settings) -> None:
    """Refuse a namespace that the operator does not look after.

    Raises:
        SpecError: Naming those that it does.
    """
    watched = settings.watch_namespaces
    if watched and namespace not in watched:
        raise SpecError(
            f"metadata.namespace: the operator does not look after `{namespace}`",
            f"use -n with one of: {', '.join(watched)}; or have it added to `watchNamespaces` of "
            "the chart",
        )


def operator_warnings(kube: Kube, outcome: str = "the job will wait") -> Iterator[str]:
    """Whether an operator leads, as far as this account may see.

    Args:
        kube: The cluster.
        outcome: What comes of it if none does.
    """
    namespace = system_namespace()
    hint = f"{outcome} (`kubectl -n {namespace} get pods` shows its pods)"
    try:
        lease = kube.get(LEASE, LEASE_NAME, namespace)
    except Forbidden:
        return
    except Missing:
        yield f"no operator runs in namespace {namespace}: {hint}"
        return
    age = time.time() - seconds((lease.get("spec") or {}).get("renewTime"))
    if age > _DEAD_SECONDS or not (lease.get("spec") or {}).get("holderIdentity"):
        yield f"the operator in namespace {namespace} shows no sign of life: {hint}"


def try_out(kube: Kube, job: AstroJob, made: Manifests) -> list[str]:
    """Have the API server check the AstroJob without creating it, and the RayJobs if it may be.

    Returns:
        Warnings.

    Raises:
        ConflictError: If there is an AstroJob of that name.
        NotFoundError: If the namespace, our definitions or KubeRay's are missing.
        ClusterError: If the cluster's definitions are older, so that fields would be lost.
        SpecError: If the API server refuses it.
    """
    try:
        told = kube.create(made.astrojob, dry_run=True)
    except AlreadyExists:
        raise exists(kube, job) from None
    except NoSuchKind as error:
        raise without_kind(error) from None
    except Missing:
        raise _no_namespace(kube, job.metadata.namespace) from None
    except Invalid as error:
        raise refused(error) from None
    return [*_older(job, made.astrojob, told), *_try_rayjobs(kube, made)]


def exists(kube: Kube, job: AstroJob) -> ConflictError:
    """What to say where there is an AstroJob of that name."""
    name = job.metadata.name
    there = visible(lambda: kube.get(ASTROJOB, name, job.metadata.namespace)) or {}
    phase = (there.get("status") or {}).get("phase") or "Pending"
    changed = _changes(there, job)
    return ConflictError(
        f"metadata.name: there is an AstroJob `{name}` in namespace `{job.metadata.namespace}`, "
        f"phase {phase}" + (f", with another spec:{listed(changed)}" if changed else ""),
        f"go on with it: `astroctl resume {name}` (with a changed file: `-f`, which runs what "
        f"changed again); remove it: `astroctl delete {name}`; or keep it: `--fork NEW` makes a "
        "new run that takes over what is finished and unchanged",
    )


def _changes(there: Object, job: AstroJob) -> list[Change]:
    """How an AstroJob differs from the one that was submitted; nothing where it may not be seen."""
    return changes(parse(plain(there), source="AstroJob"), job) if there else []


def refused(error: Invalid) -> SpecError:
    """The API server's refusal, by field."""
    lines = [f"{field}: {message}" for field, message in error.causes] or [error.message]
    shown = lines[0] if len(lines) == 1 else "\n  " + "\n  ".join(lines)
    return SpecError(
        f"the cluster refuses the job: {shown}",
        "the cluster's definitions may be of another version than this astroctl: `astroctl doctor "
        "--target kubernetes` compares them",
    )


def lost(sent: Any, kept: Any, path: str = "") -> list[str]:
    """Paths of what was sent but is not in what the API server keeps."""
    if isinstance(sent, dict):
        found = []
        for key, value in sent.items():
            here = f"{path}.{key}" if path else str(key)
            if not isinstance(kept, dict) or key not in kept:
                if value not in ({}, [], None):
                    found.append(here)
            else:
                found += lost(value, kept[key], here)
        return found
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        pairs = enumerate(zip(sent, kept, strict=True))
        return [p for i, (a, b) in pairs for p in lost(a, b, f"{path}[{i}]")]
    return []


def _older(job: AstroJob, sent: Object, kept: Object) -> list[str]:
    missing = lost(sent["spec"], kept.get("spec"), "spec")
    if not missing:
        return []
    # What was left at its default is no loss: the operator that knows the field fills it in.
    meant = job.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    needed = lost(meant["spec"], kept.get("spec"), "spec")
    told = "the cluster's definition of AstroJob is older than this astroctl: it does not know "
    if needed:
        raise ClusterError(
            told + ", ".join(needed),
            "have it upgraded (`astroctl install`), or leave these fields out",
        )
    return [told + f"{', '.join(missing)} (left at the defaults)"]


def _try_rayjobs(kube: Kube, made: Manifests) -> list[str]:
    for manifest in made.rayjobs:
        try:
            told = kube.create(manifest, dry_run=True)
        except AlreadyExists:
            continue
        except Forbidden:
            return _kuberay_by_discovery(kube)
        except NoSuchKind:
            raise no_kuberay() from None
        except Invalid as error:
            raise refused(error) from None
        missing = lost(manifest["spec"], told.get("spec"), "spec")
        if missing:
            raise ClusterError(
                f"the cluster's KubeRay is too old: its RayJob does not know {missing[0]}"
                + (f" and {len(missing) - 1} more fields" if len(missing) > 1 else ""),
                "KubeRay 1.7 is needed: `astroctl install` upgrades it",
            )
    return []


def _kuberay_by_discovery(kube: Kube) -> list[str]:
    """Every account may ask which kinds there are."""
    try:
        served = kube.request("GET", "/apis/ray.io/v1").get("resources") or []
    except (NoSuchKind, Missing):
        raise no_kuberay() from None
    except Forbidden:
        return []
    if not any(r["name"] == "rayjobs" for r in served):
        raise no_kuberay()
    return []


def no_kuberay() -> NotFoundError:
    """What to say where KubeRay is not installed."""
    return NotFoundError(
        "KubeRay is not installed on the cluster: it does not know RayJobs",
        "`astroctl install` brings it (version 1.7)",
    )


def _no_namespace(kube: Kube, namespace: str) -> NotFoundError:
    from astroctl.kube.resources import NAMESPACE

    names = [n["metadata"]["name"] for n in visible(lambda: kube.list(NAMESPACE)) or []]
    return NotFoundError(
        f"metadata.namespace: there is no namespace `{namespace}`",
        f"`kubectl create namespace {namespace}`, or use -n"
        + (f" ({did_you_mean(namespace, names)})" if names else ""),
    )
