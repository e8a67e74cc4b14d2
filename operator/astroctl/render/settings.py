"""What an installation decides for all its jobs: the operator's settings.

The chart writes them into the ConfigMap ``astrosage-settings``, which the operator reads as a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from astrosage import __version__
from astrosage.errors import NotFoundError, SpecError
from astrosage.spec.base import SpecModel
from astrosage.spec.cluster import PositiveInt
from astrosage.spec.kubernetes import Head, ObjectName, Quantity, Toleration, Variable

VARIABLE = "ASTROSAGE_SETTINGS"
CONFIG_MAP = "astrosage-settings"
CONFIG_KEY = "settings.yaml"


class AutoscalerSettings(SpecModel):
    """The container that scales the worker pods of elastic jobs."""

    cpu: Annotated[float, Field(gt=0)] = 0.5
    """CPU cores."""
    memory: Quantity = "1Gi"
    """Request and limit."""
    idle_seconds: PositiveInt = 300
    """A worker pod above the job's minimum that does nothing is given back after this time. Long
    enough to last from the end of a stage to the start of the next."""


class Settings(SpecModel):
    """Settings of the operator; a job's own fields come first."""

    image: str = Field(default=f"astrosage/ray:{__version__}", min_length=1)
    """Ray image with this project in it."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Kubernetes' own default if not given."""
    image_pull_secrets: list[ObjectName] = []
    """Secrets for the registry, in the namespaces of the jobs."""
    ray_version: str = Field(default="2.60.0", pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")
    """The Ray in the image; KubeRay chooses probes and autoscaler by it."""
    service_account: ObjectName | None = None
    """Pods of jobs run as this; default: the namespace's default account."""
    priority_class: ObjectName | None = None
    """Which pods go first when room is short."""
    head: Head = Head()
    """The head pod of jobs that leave it at the built-in values."""
    autoscaler: AutoscalerSettings = AutoscalerSettings()
    """The autoscaler of elastic jobs."""
    storage: str | None = None
    """Run storage of jobs that leave it at `./runs`, which no two pods share: s3://, gs://, az://
    or pvc://claim/path."""
    env: list[Variable] = []
    """Environment variables of all pods, such as HF_ENDPOINT or HTTPS_PROXY."""
    env_from_secrets: list[ObjectName] = []
    """Secrets, in the namespaces of the jobs, all of whose keys become environment variables."""
    worker_node_selector: dict[str, str] = {}
    """Labels of the nodes that workers without a pool may run on."""
    worker_tolerations: list[Toleration] = []
    """Taints that workers without a pool put up with."""
    run_as_user: Annotated[int, Field(ge=1)] | None = 1000
    """User of all processes; null where the platform assigns one, as OpenShift does."""
    fs_group: Annotated[int, Field(ge=1)] | None = 1000
    """Group that mounted volumes belong to, so that the user may write to a claim."""
    cpu_limits: bool = False
    """Limit CPU to what is asked for. Off, since throttling slows training down; on for namespaces
    whose quota wants limits, and for nodes that pin exclusive cores."""
    ipc_lock: bool = True
    """Add the capability IPC_LOCK to pods of pools with network resources (RDMA). The restricted
    and baseline pod security standards refuse it: turn it off there, and let the nodes' container
    runtime give an unlimited memlock."""
    kueue: Literal["auto", "off"] = "auto"
    """`auto`: jobs with a queue become Kueue workloads; `off`: there is no Kueue, and a job that
    names a queue is refused."""
    queue: ObjectName | None = None
    """Queue of jobs that name none."""
    job_ttl_seconds: Annotated[int, Field(ge=0)] = 60
    """A Ray cluster lives on this long after its job, so that its last words can be read."""
    ray_start_timeout: PositiveInt = 600
    """Seconds that a training waits for its workers at least; longer for pools that boot slowly."""
    cluster_domain: str = Field(default="cluster.local", min_length=1)
    """DNS domain of the cluster."""
    pools_enabled: bool = False
    """Whether GPUNodePools are managed."""
    watch_namespaces: list[ObjectName] = []
    """Namespaces whose jobs are looked after; none: all."""
    reap_idle: bool = True
    """Remove the RayJob of a finished run whose pods still hold GPUs minutes after its end."""
    poll_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How often a running job's figures are read."""


def load(path: str | None = None) -> Settings:
    """Settings from a YAML file; without one, from that of ``ASTROSAGE_SETTINGS``, else defaults.

    Raises:
        NotFoundError: If the file is not there or cannot be read.
        SpecError: If it is not YAML, or a field in it is wrong; all wrong fields are named.
    """
    path = path or os.environ.get(VARIABLE)
    if not path:
        return Settings()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise NotFoundError(
            f"settings {path} cannot be read: {reason}",
            f"the chart mounts them from the ConfigMap {CONFIG_MAP}; elsewhere give --settings",
        ) from None
    return parse(text, source=str(path))


def parse(text: str, source: str = "settings") -> Settings:
    """Settings from YAML text; nothing in it means defaults.

    Raises:
        SpecError: If it is not YAML, or a field in it is wrong; all wrong fields are named.
    """
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecError(f"{source}: not valid YAML{where}", "mend the YAML there") from None
    if data is not None and not isinstance(data, dict):
        raise SpecError(
            f"{source}: expected fields such as `image: …`; found {type(data).__name__}",
            "`helm show values` lists the fields under `settings`",
        )
    try:
        return Settings.model_validate(data or {})
    except ValidationError as error:
        lines = [_line(e) for e in error.errors(include_url=False)]
        listed = lines[0] if len(lines) == 1 else "\n  " + "\n  ".join(lines)
        raise SpecError(
            f"{source}: {listed}", "`helm show values` lists the fields under `settings`"
        ) from None


def _line(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unknown_field":
        context = error["ctx"]
        full = f"{path}.{context['field']}" if path else context["field"]
        return f"{full}: unknown field; {context['suggestion']}"
    found = error.get("input")
    shown = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
    return f"{path}: {error['msg']}{shown}"
