"""Manifests without a cluster: where settings, pools and namespace come from then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from astroctl.render import settings as installation
from astroctl.render.settings import Settings
from astroctl.render.storage import DEFAULT_STORAGE
from astroctl.targets.kubernetes import precheck
from astroctl.targets.kubernetes.manifests import Manifests, manifests, pool_names, with_storage
from astroctl.targets.kubernetes.target import KubernetesTarget
from astrosage.errors import NotFoundError, SpecError
from astrosage.spec import graph
from astrosage.spec.base import did_you_mean
from astrosage.spec.job import AstroJob
from astrosage.spec.load import absolute
from astrosage.spec.local import local_paths
from astrosage.spec.pool import GPUNodePool
from astrosage.spec.stages import Stage


def target_for(
    context: str | None, kubeconfig: str | None, namespace: str | None
) -> KubernetesTarget | None:
    """The cluster whose settings and pools are wanted; None if none is named."""
    if not (context or kubeconfig):
        return None
    return KubernetesTarget(context, kubeconfig, namespace)


def settings_for(file: str | None, target: KubernetesTarget | None) -> tuple[Settings, str]:
    """The installation's settings, and where they are from."""
    if file:
        return installation.load(file), file
    if target is not None:
        return target.settings, f"of the cluster {target.kube.context or target.kube.host}"
    return Settings(), "built in (a cluster's own: --settings FILE, or --context)"


def placed(
    job: AstroJob, namespace: str | None, target: KubernetesTarget | None, folder: Path
) -> AstroJob:
    """The job in its namespace; storage left at the default is the installation's."""
    named = "namespace" in job.metadata.model_fields_set
    default = job.metadata.namespace if named or target is None else target.namespace
    spec = job.spec
    if spec.storage == absolute(DEFAULT_STORAGE, folder):
        spec = spec.model_copy(update={"storage": DEFAULT_STORAGE})
    metadata = job.metadata.model_copy(update={"namespace": namespace or default})
    return job.model_copy(update={"metadata": metadata, "spec": spec})


def render(
    job: AstroJob,
    chosen: str | None,
    settings: Settings,
    target: KubernetesTarget | None,
    pool_files: Iterable[str],
) -> tuple[Manifests, list[str]]:
    """The manifests, and warnings.

    Raises:
        SpecError, NotFoundError: If the job cannot run as it is, naming the field.
    """
    stages = _stages(job, chosen)
    job = with_storage(job, settings)
    pools = read_pools(pool_files)
    wanted = list(pool_names(job, stages))
    missing = [(field, name) for field, name in wanted if name not in pools]
    if missing and target is not None:
        pools = {**precheck.pools(target.kube, job, stages), **pools}
        missing = [(field, name) for field, name in wanted if name not in pools]
    if missing:
        field, name = missing[0]
        raise NotFoundError(
            f"{field}: the GPUNodePool `{name}` is not known",
            "give its manifest with --pool-file, or --context to ask the cluster"
            + (f" ({did_you_mean(name, pools)})" if pools else ""),
        )
    warnings = [
        f"{field}: {path} is a path of this machine, which pods do not see; `astroctl submit "
        "--target kubernetes` brings it along"
        for field, path in local_paths(job)
    ]
    return manifests(job, stages, settings, pools), warnings


def read_pools(files: Iterable[str]) -> dict[str, GPUNodePool]:
    """The GPUNodePools of some YAML files; other kinds in them are passed over.

    Raises:
        NotFoundError, SpecError: If a file cannot be read, or a pool in it is wrong.
    """
    found = {}
    for file in files:
        try:
            documents = list(yaml.safe_load_all(Path(file).read_text(encoding="utf-8")))
        except OSError as error:
            raise NotFoundError(
                f"--pool-file: {file} cannot be read: {error.strerror}", "name a YAML file"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SpecError(f"--pool-file: {file}: not YAML: {reason}", "mend it") from None
        for document in documents:
            if isinstance(document, dict) and document.get("kind") == "GPUNodePool":
                pool = precheck.pool_of({"metadata": {"name": ""}, "spec": {}, **document})
                found[pool.metadata.name] = pool
    return found


def _stages(job: AstroJob, chosen: str | None) -> Sequence[Stage]:
    every = graph.order(job)
    if chosen is None:
        return every
    wanted = [n.strip() for n in chosen.split(",") if n.strip()]
    for name in wanted:
        if name not in [s.name for s in every]:
            raise SpecError(
                f"--stages: the run file has no stage `{name}`",
                did_you_mean(name, [s.name for s in every]),
            )
    return [s for s in every if s.name in wanted]
