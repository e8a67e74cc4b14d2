"""The driver that a pool names."""

from __future__ import annotations

import importlib

from astroctl.kube.client import Kube
from astroctl.pools.drivers.base import Driver, extra_missing
from astrosage.spec.pool import PoolSpec

_CLOUDS = {
    "eks": ("EksDriver", "boto3"),
    "gke": ("GkeDriver", "google-cloud-container"),
    "aks": ("AksDriver", "azure-mgmt-containerservice and azure-identity"),
}


def driver_of(spec: PoolSpec, kube: Kube) -> Driver:
    """Make a pool's driver; nothing is asked of anyone yet.

    Args:
        spec: The pool.
        kube: The cluster.

    Raises:
        ExtraMissing: If its library is not installed.
        AstroError: If the cloud's credentials cannot be found.
    """
    if spec.driver == "scale":
        from astroctl.pools.drivers.scale import ScaleDriver

        return ScaleDriver(kube, spec.reference)
    if spec.driver == "karpenter":
        from astroctl.pools.drivers.karpenter import KarpenterDriver

        return KarpenterDriver(kube, spec)
    name, library = _CLOUDS[spec.driver]
    module = importlib.import_module(f"astroctl.pools.drivers.{spec.driver}")
    try:
        driver: Driver = getattr(module, name)(spec.reference)
    except ImportError:
        raise extra_missing(spec.driver, library) from None
    return driver
