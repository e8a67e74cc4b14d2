"""A way to a served model from this machine."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from astroctl.serving.served import Served
from astrosage.errors import ClusterError, NotFoundError

if TYPE_CHECKING:
    from astroctl.kube.client import Kube
    from astroctl.kube.forward import Forward


@contextmanager
def reach(served: Served, key_file: Path | None = None) -> Iterator[tuple[str, str]]:
    """Its base URL and key, while the block runs.

    Args:
        served: The model.
        key_file: A file with another key.

    Raises:
        NotFoundError: If its key, or the model, is not there any more.
        ClusterError: If no pod of it is ready.
    """
    if served.target != "kubernetes":
        yield served.url, read_key(key_file or Path(served.key_file))
        return
    kube = kube_of(served)
    key = read_key(key_file) if key_file else key_of(kube, served)
    opened = forward_to(kube, served, 0).start()
    try:
        yield f"http://127.0.0.1:{opened.port}/v1", key
    finally:
        opened.close()


def read_key(path: Path) -> str:
    """The key in a file.

    Raises:
        NotFoundError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NotFoundError(
            f"the key file {path} cannot be read: {error.strerror}",
            "serve the model again, or give another with --key-file",
        ) from None


def kube_of(served: Served) -> Kube:
    """The cluster that serves it."""
    from astroctl.kube.client import Kube

    context = None if served.context == "in-cluster" else served.context or None
    return Kube.connect(context, served.kubeconfig or None)


def key_of(kube: Kube, served: Served) -> str:
    """Its key, from the Secret.

    Raises:
        NotFoundError: If the Secret, or a key in it, is missing.
    """
    from astroctl.kube.resources import SECRET

    found = kube.find(SECRET, served.secret, served.namespace) or {}
    values = found.get("data") or {}
    value = values.get("default") or next(iter(values.values()), None)
    if value is None:
        raise NotFoundError(
            f"there is no key of `{served.name}` in Secret {served.namespace}/{served.secret}",
            "is it still served? `astroctl serve --status --target kubernetes`",
        )
    return base64.b64decode(value).decode().strip()


def forward_to(
    kube: Kube, served: Served, port: int, say: Callable[[str], None] = lambda message: None
) -> Forward:
    """A forwarded port to whichever of its pods is ready when a connection comes.

    Raises:
        ConflictError: If the port is in use.
        ClusterError: If no pod is ready now.
    """
    from astroctl.kube.forward import Forward
    from astroctl.render.rayservice import PORT

    ready_pod(kube, served)
    return Forward(kube, served.namespace, lambda: ready_pod(kube, served), PORT, port, say)


def ready_pod(kube: Kube, served: Served) -> str:
    """A pod that answers requests, the least busy being unknown: the first.

    Raises:
        NotFoundError: If the model is no longer served.
        ClusterError: If no pod is ready.
    """
    from astroctl.kube.errors import Missing
    from astroctl.kube.pods import is_ready
    from astroctl.kube.resources import POD, RAYSERVICE
    from astroctl.render.names import RAY_CLUSTER, RAY_NODE_TYPE
    from astroctl.serving.account import cluster_of

    try:
        service = kube.get(RAYSERVICE, served.endpoint, served.namespace)
    except Missing:
        raise NotFoundError(
            f"`{served.name}` is no longer served in namespace {served.namespace}",
            "`astroctl serve --status --target kubernetes` shows what is",
        ) from None
    cluster = cluster_of(service)
    labels = f"{RAY_CLUSTER}={cluster},{RAY_NODE_TYPE}=worker"
    for pod in kube.list(POD, served.namespace, labels=labels) if cluster else []:
        if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
            return str(pod["metadata"]["name"])
    raise ClusterError(
        f"no pod of `{served.name}` is ready",
        "`astroctl serve --status --target kubernetes` says what it waits for",
    )
