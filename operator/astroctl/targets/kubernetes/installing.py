"""What has to be installed on a cluster, in which order, by which helm commands."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from astroctl.kube.client import Kube, Object
from astroctl.targets.kubernetes import versions
from astrosage.errors import ClusterError, ConflictError, NotFoundError

KUBERAY_REPOSITORY = "https://ray-project.github.io/kuberay-helm/"
KUEUE_CHART = "oci://registry.k8s.io/kueue/charts/kueue"
KUEUE_VERSION = "0.19.*"
_HELM_NEEDED = (3, 8)
_RELEASE, _RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        helm: The program.
        chart: Our chart.
        namespace: Where the operator goes.
        values: Value files for our chart.
        overrides: ``a.b=c`` for our chart.
        kuberay: Whether KubeRay is installed or upgraded too.
        kuberay_chart: Another chart than the public one, such as a mirror's.
        kueue: Whether Kueue is installed too.
        kueue_chart: Another chart than the public one.
        kueue_version: Its version.
        timeout: How long helm waits, such as ``10m``.
        context: The kubeconfig's context.
        kubeconfig: The kubeconfig.
    """

    helm: str
    chart: str
    namespace: str
    values: Sequence[str] = ()
    overrides: Sequence[str] = ()
    kuberay: bool = True
    kuberay_chart: str | None = None
    kueue: bool = False
    kueue_chart: str | None = None
    kueue_version: str = KUEUE_VERSION
    timeout: str = "10m"
    context: str | None = None
    kubeconfig: str | None = None


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        title: What it does, for people.
        command: Program and arguments.
        definitions: Whether it prints definitions, which are then applied to the cluster.
    """

    title: str
    command: list[str] = field(default_factory=list)
    definitions: bool = False

    @property
    def shown(self) -> str:
        """As a person would type it."""
        text = shlex.join(self.command)
        return text + (" | kubectl apply --server-side --force-conflicts -f -" * self.definitions)


def steps(options: Options, kuberay: list[Object] | None) -> Iterator[Step]:
    """The commands, in the order that works: KubeRay, Kueue, then what watches both.

    Args:
        options: What is wanted.
        kuberay: Deployments of KubeRay's operator that are there; None if nobody could look.

    Raises:
        ConflictError: If KubeRay is too old and was not installed by helm.
    """
    if options.kuberay:
        yield from _kuberay(options, kuberay or [])
    if options.kueue:
        chart = [options.kueue_chart or KUEUE_CHART]
        if not options.kueue_chart:
            chart += ["--version", options.kueue_version]
        yield Step("Kueue", _upgrade(options, "kueue", "kueue-system", chart))
    extra = [options.chart]
    for file in options.values:
        extra += ["--values", file]
    for item in options.overrides:
        extra += ["--set", item]
    yield Step("astrosage", _upgrade(options, "astrosage", options.namespace, extra))


def _kuberay(options: Options, found: list[Object]) -> Iterator[Step]:
    chart = ["kuberay-operator", "--repo", KUBERAY_REPOSITORY]
    chart += ["--version", versions.KUBERAY_VERSION]
    if options.kuberay_chart:
        chart = [options.kuberay_chart]
    if not found:
        yield Step("KubeRay", _upgrade(options, "kuberay-operator", "kuberay-system", chart))
        return
    old = [d for d in found if versions.numbers(versions.image_version(d)) < (1, 7)]
    for one in old:
        version = versions.image_version(one)
        annotations = one["metadata"].get("annotations") or {}
        if _RELEASE not in annotations:
            raise ConflictError(
                f"KubeRay {version} is in namespace {one['metadata']['namespace']}, not installed "
                "by helm",
                f"upgrade it to {versions.KUBERAY_VERSION} as it was installed, then install "
                "again; or leave it alone: --no-kuberay",
            )
        # Helm never upgrades definitions that a chart has in its folder crds.
        show = [options.helm, "show", "crds", *chart]
        yield Step(f"KubeRay's definitions ({version} is there)", show, definitions=True)
        release, namespace = annotations[_RELEASE], annotations[_RELEASE_NAMESPACE]
        # Values that were set stay; new ones come with the chart.
        kept = [*chart, "--reset-then-reuse-values"]
        yield Step("KubeRay", _upgrade(options, release, namespace, kept))


def _upgrade(options: Options, release: str, namespace: str, extra: list[str]) -> list[str]:
    command = [options.helm, "upgrade", "--install", release, *extra]
    command += ["--namespace", namespace, "--create-namespace", "--wait"]
    command += ["--timeout", options.timeout]
    if options.context:
        command += ["--kube-context", options.context]
    if options.kubeconfig:
        command += ["--kubeconfig", options.kubeconfig]
    return command


def perform(step: Step, kube: Callable[[], Kube]) -> None:
    """Run a step; what it says goes to this process's output.

    Raises:
        ClusterError: If it fails.
    """
    if not step.definitions:
        if subprocess.run(step.command).returncode:
            raise ClusterError(
                f"{step.title}: helm failed",
                "what it said is above; the command can be repeated as often as need be",
            )
        return
    done = subprocess.run(step.command, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{step.title}: {done.stderr.strip()[-500:]}", "try again")
    for document in yaml.safe_load_all(done.stdout):
        if document:
            kube().apply(document, force=True)


def find_helm(given: str | None) -> str:
    """The helm program.

    Raises:
        NotFoundError: If there is none.
        ClusterError: If it is too old.
    """
    found = shutil.which(given or os.environ.get("ASTROCTL_HELM") or "helm")
    if found is None:
        raise NotFoundError(
            f"helm: {given or 'no program of that name is on the path'}",
            "install helm 3.8 or newer (https://helm.sh/docs/intro/install/), or name it: --helm",
        )
    version = helm_version(found)
    if version < _HELM_NEEDED:
        shown = ".".join(map(str, version)) or "of unknown version"
        raise ClusterError(f"{found} is {shown}", "helm 3.8 or newer is needed")
    return found


def helm_version(program: str) -> tuple[int, ...]:
    """A helm program's version; empty if it does not tell."""
    command = [program, "version", "--template", "{{.Version}}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return versions.numbers(said.strip())


def find_chart(given: str | None) -> str:
    """Our chart: as named, as installed with this package, or beside it in the repository.

    Raises:
        NotFoundError: If there is none.
    """
    named = given or os.environ.get("ASTROCTL_CHART")
    if named:
        if "://" not in named and not Path(named).exists():
            raise NotFoundError(f"--chart: {named} does not exist", "a folder, a .tgz, or oci://…")
        return named
    package = Path(__file__).resolve().parents[2]
    places = [package / "chart", package.parents[1] / "charts" / "astrosage"]
    for place in places:
        if (place / "Chart.yaml").exists():
            return str(place)
    raise NotFoundError(
        f"the chart is not in {' nor in '.join(map(str, places))}",
        "name it with --chart: a folder, a .tgz, or oci://…",
    )
