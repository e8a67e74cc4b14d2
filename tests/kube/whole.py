"""A whole cluster out of stand-ins: a node that runs pods, KubeRay, and real Ray heads."""

from __future__ import annotations

from pathlib import Path

from astroctl.kube.client import Kube, Object
from tests.kube.kubelet import Kubelet
from tests.kube.kuberay import KubeRay
from tests.kube.plane import OwnPlane
from tests.kube.rayclusters import CLUSTER
from tests.kube.realheads import RealHeads


class WholeCluster:
    """One namespace in which pods run, claims are folders, and RayJobs really train.

    Args:
        plane: The control plane.
        kube: The administrator's client.
        folder: Of everything that pods leave.
        namespace: Where.
    """

    def __init__(self, plane: OwnPlane, kube: Kube, folder: Path, namespace: str) -> None:
        self.kubelet = Kubelet(plane, kube, folder / "node", namespace, f"node-{namespace}")
        self.heads = RealHeads(kube, folder / "heads", self.kubelet.claims)
        self.kuberay = KubeRay(kube, namespace, heads=self.heads, marks_pods=False, tick=0.3)
        self.kubelet.port_of = self._port_of

    def start(self) -> WholeCluster:
        """Begin."""
        self.kubelet.start()
        self.kuberay.start()
        return self

    def stop(self) -> None:
        """End all of it, Ray heads too."""
        self.kuberay.stop()
        self.kubelet.stop()

    def _port_of(self, pod: Object, port: int) -> int | None:
        """Where a head pod's ports are here."""
        meta = pod["metadata"]
        name = (meta.get("labels") or {}).get(CLUSTER)
        cluster = self.kuberay.clusters.find(meta["namespace"], name) if name else None
        return self.heads.port(cluster, port) if cluster else None
