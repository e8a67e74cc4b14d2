"""Finds in a RayJob or RayService what KubeRay would only say when it is there.

KubeRay checks most of a spec in its controller: ``kubectl apply`` takes the object, and a status
says later that it is invalid, which no correction of the spec mends. Every one of its rules is
here, and those mistakes besides that show when pods do not start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from astroctl.render.cluster_rules import check_cluster
from astroctl.render.deletion_rules import check_deletion
from astroctl.render.names import DNS_1035, MAX_RAYJOB_NAME, MAX_RAYSERVICE_NAME
from astroctl.render.problems import Problem
from astroctl.render.queues import KUEUE_ELASTIC, KUEUE_QUEUE
from astroctl.render.service_rules import check_service
from astrosage.errors import SpecError

_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
Object = dict[str, Any]


def lint(manifest: Object) -> list[Problem]:
    """All problems of a RayJob or RayService; none if KubeRay would take it.

    Raises:
        SpecError: If it is neither.
    """
    kind = manifest.get("kind")
    if kind == "RayJob":
        return list(_rayjob(manifest))
    if kind == "RayService":
        return [*_name(manifest, MAX_RAYSERVICE_NAME), *check_service(manifest)]
    raise SpecError(f"kind: `{kind}` cannot be checked", "RayJob or RayService")


def _rayjob(manifest: Object) -> Iterator[Problem]:
    spec = manifest.get("spec") or {}
    yield from _name(manifest, MAX_RAYJOB_NAME)
    yield from _lifetime(spec)
    yield from check_deletion(spec)
    yield from _submission(spec)
    yield from _runtime_env(spec)
    yield from _kueue(manifest, spec)
    cluster, selector = spec.get("rayClusterSpec"), spec.get("clusterSelector")
    if (cluster is None) == (not selector):
        yield Problem(
            "spec.rayClusterSpec",
            "exactly one of rayClusterSpec and clusterSelector is needed",
        )
    if cluster is not None:
        annotations = manifest.get("metadata", {}).get("annotations") or {}
        yield from check_cluster(cluster, "spec.rayClusterSpec", annotations)
        if (cluster.get("authOptions") or {}).get("enableK8sTokenAuth"):
            yield Problem(
                "spec.rayClusterSpec.authOptions.enableK8sTokenAuth", "a RayJob cannot use it"
            )
        if cluster.get("upgradeStrategy"):
            yield Problem("spec.rayClusterSpec.upgradeStrategy", "a RayJob cannot have one")


def _name(manifest: Object, longest: int) -> Iterator[Problem]:
    name = str(manifest.get("metadata", {}).get("name") or "")
    if len(name) > longest:
        yield Problem(
            "metadata.name",
            f"`{name}` has {len(name)} characters, at most {longest} are possible",
            "KubeRay adds to it for the names of clusters and services",
        )
    if not DNS_1035.fullmatch(name):
        yield Problem(
            "metadata.name",
            f"`{name}` is no DNS-1035 label",
            "lower-case letters, digits and `-`, beginning with a letter",
        )


def _lifetime(spec: Object) -> Iterator[Problem]:
    shutdown = bool(spec.get("shutdownAfterJobFinishes"))
    selector = bool(spec.get("clusterSelector"))
    if spec.get("suspend") and not shutdown:
        yield Problem("spec.suspend", "needs shutdownAfterJobFinishes: true")
    if spec.get("suspend") and selector:
        yield Problem("spec.suspend", "cannot be used with clusterSelector")
    ttl = spec.get("ttlSecondsAfterFinished") or 0
    if ttl < 0:
        yield Problem("spec.ttlSecondsAfterFinished", f"{ttl} is below 0")
    if ttl > 0 and not shutdown:
        yield Problem("spec.ttlSecondsAfterFinished", "needs shutdownAfterJobFinishes: true")
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(field) is not None and spec[field] <= 0:
            yield Problem(f"spec.{field}", f"{spec[field]} is not above 0")
    if (spec.get("backoffLimit") or 0) < 0:
        yield Problem("spec.backoffLimit", f"{spec['backoffLimit']} is below 0")


def _submission(spec: Object) -> Iterator[Problem]:
    mode = spec.get("submissionMode") or "K8sJobMode"
    retries, selector = spec.get("backoffLimit") or 0, spec.get("clusterSelector")
    if mode not in _MODES:
        yield Problem("spec.submissionMode", f"`{mode}`; possible: {', '.join(_MODES)}")
    if selector is not None and not selector.get("ray.io/cluster"):
        yield Problem("spec.clusterSelector", "needs the label ray.io/cluster")
    if selector and mode == "SidecarMode":
        yield Problem("spec.clusterSelector", "cannot be used with SidecarMode")
    if selector and retries > 0:
        yield Problem("spec.backoffLimit", "must be 0 with clusterSelector")
    if mode == "InteractiveMode" and retries > 0:
        yield Problem("spec.backoffLimit", "must be 0 with InteractiveMode")
    if mode != "InteractiveMode" and not spec.get("entrypoint"):
        yield Problem("spec.entrypoint", "required, but missing")
    if mode == "SidecarMode":
        for field in ("submitterPodTemplate", "submitterConfig"):
            if spec.get(field) is not None:
                yield Problem(f"spec.{field}", "cannot be used with SidecarMode")
        template = (spec.get("rayClusterSpec") or {}).get("headGroupSpec", {}).get("template", {})
        if template.get("spec", {}).get("restartPolicy", "Never") != "Never":
            yield Problem(
                "spec.rayClusterSpec.headGroupSpec.template.spec.restartPolicy",
                "must be Never with SidecarMode",
            )


def _runtime_env(spec: Object) -> Iterator[Problem]:
    path = "spec.runtimeEnvYAML"
    try:
        found = yaml.safe_load(spec.get("runtimeEnvYAML") or "")
    except yaml.YAMLError:
        yield Problem(path, "not valid YAML")
        return
    if found is None:
        return
    if not isinstance(found, dict):
        yield Problem(path, f"a mapping is needed, found {type(found).__name__}")
        return
    for name, value in (found.get("env_vars") or {}).items():
        if not isinstance(value, str):
            yield Problem(
                f"{path}.env_vars.{name}", f"text is needed, found {value!r}", "quote the value"
            )


def _kueue(manifest: Object, spec: Object) -> Iterator[Problem]:
    metadata = manifest.get("metadata", {})
    if KUEUE_QUEUE not in (metadata.get("labels") or {}):
        return
    path = f"metadata.labels[{KUEUE_QUEUE}]"
    if spec.get("clusterSelector"):
        yield Problem(path, "Kueue takes no RayJob on a cluster that is there already")
    if not spec.get("shutdownAfterJobFinishes"):
        yield Problem(path, "Kueue needs shutdownAfterJobFinishes: true")
    cluster = spec.get("rayClusterSpec") or {}
    groups = cluster.get("workerGroupSpecs") or []
    if len(groups) > 17:
        yield Problem("spec.rayClusterSpec.workerGroupSpecs", "Kueue takes at most 17 groups")
    for index, group in enumerate(groups):
        if group.get("groupName") == "head":
            yield Problem(
                f"spec.rayClusterSpec.workerGroupSpecs[{index}].groupName",
                "Kueue keeps `head` for the head",
            )
    elastic = (metadata.get("annotations") or {}).get(KUEUE_ELASTIC) == "true"
    if cluster.get("enableInTreeAutoscaling") and not elastic:
        yield Problem(
            "spec.rayClusterSpec.enableInTreeAutoscaling",
            f"Kueue takes it only with the annotation {KUEUE_ELASTIC}: true",
        )
