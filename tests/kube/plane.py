"""A real Kubernetes control plane on loopback: etcd, API server and controllers if it has them.

Where its programs come from, first found:

1. ``ASTRO_TEST_KUBECONFIG``: an existing cluster that tests may break;
2. ``KUBEBUILDER_ASSETS``: a folder with ``etcd``, ``kube-apiserver``, ``kubectl`` (as envtest has
   it), and perhaps ``kube-controller-manager``;
3. ``../shared/tools/control-plane assets``, where that script lies beside the checkout.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.kube.certificates import Authority, signing_keys
from tests.kube.processes import Server, free_port

SCRIPT = Path(__file__).parents[3] / "shared" / "tools" / "control-plane"
_BOOT_SECONDS = 120.0
# No kubelet renews a node's lease here, and nothing is attached to nodes.
_CONTROLLERS = "*,-nodelifecycle,-nodeipam,-attachdetach"


class Unavailable(Exception):
    """No control plane can be had here; the text says why."""


def binaries() -> Path:
    """The folder of the control plane's programs.

    Raises:
        Unavailable: If there is none.
    """
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        folder = Path(assets)
        missing = [n for n in ("etcd", "kube-apiserver") if not (folder / n).exists()]
        if missing:
            raise Unavailable(f"KUBEBUILDER_ASSETS={assets} has no {' and no '.join(missing)}")
        return folder
    if not SCRIPT.exists():
        raise Unavailable(
            "no control plane: set ASTRO_TEST_KUBECONFIG (a cluster that may be broken) or "
            "KUBEBUILDER_ASSETS (a folder with etcd, kube-apiserver and kubectl)"
        )
    made = subprocess.run([SCRIPT, "assets"], capture_output=True, text=True)
    if made.returncode:
        raise Unavailable(f"{SCRIPT.name} assets failed: {made.stderr.strip()[-500:]}")
    return Path(made.stdout.strip().splitlines()[-1])


class Plane:
    """A cluster's API for tests.

    Attributes:
        kubeconfig: File with the administrator's credentials.
        has_controllers: Whether namespaces get service accounts and owned objects are collected.
        is_ours: Whether it may be stopped, restarted and frozen.
        logs: Folder of its logs.
    """

    is_ours = False

    def __init__(self, kubeconfig: Path, logs: Path, has_controllers: bool = True) -> None:
        self.kubeconfig, self.logs, self.has_controllers = kubeconfig, logs, has_controllers

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(_cluster(self.kubeconfig)["server"])

    def kubeconfig_for(self, path: Path, token: str, namespace: str = "default") -> Path:
        """Write a kubeconfig of someone who has a token."""
        return write_kubeconfig(
            path, dict(_cluster(self.kubeconfig)), {"token": token}, namespace=namespace
        )


class OwnPlane(Plane):
    """One that is started here and can be mistreated.

    Args:
        folder: Its state: certificates, etcd's data, logs.
        programs: Folder of its programs.
    """

    is_ours = True

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._programs = folder, programs
        super().__init__(
            folder / "admin.kubeconfig",
            folder / "logs",
            (programs / "kube-controller-manager").exists(),
        )
        self._authority = Authority(folder / "pki")
        self._etcd_port, self._api_port = free_port(), free_port()
        self.admin = self._authority.issue("admin", "admin", "system:masters")
        self._write_kubeconfig("admin", self.admin)
        self.etcd = Server("etcd", self._etcd_command(), self.logs)
        self.api = Server("kube-apiserver", self._api_command(), self.logs)
        self.controllers = None
        if self.has_controllers:
            self.controllers = Server(
                "kube-controller-manager", self._controllers_command(), self.logs
            )

    def start(self) -> None:
        """Start everything and wait until it answers."""
        self.etcd.start()
        self._wait(self.etcd, f"http://127.0.0.1:{self._etcd_port}/health")
        self.start_api()
        if self.controllers:
            self.controllers.start()

    def start_api(self) -> None:
        """Start the API server, with the ports and data that it had before."""
        self.api.start()
        self._wait(self.api, f"{self.server}/readyz")
        # Controllers end when their server is away for too long; elsewhere a kubelet minds them.
        if self.controllers and self.controllers.process and not self.controllers.lives:
            self.controllers.start()

    def stop_api(self) -> None:
        """Take the API server away at once, as a machine that fails does; the data stays."""
        self.api.stop(0)

    def restart(self, pause: float = 0.0) -> None:
        """Take the API server away and bring it back.

        Args:
            pause: Seconds without it.
        """
        self.stop_api()
        time.sleep(pause)
        self.start_api()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The API server accepts connections but answers nothing."""
        self.api.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.api.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all of it; logs stay, data goes."""
        for server in (self.controllers, self.api, self.etcd):
            if server is not None:
                server.stop(0)
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def certificate(self, name: str, user: str, group: str | None = None) -> tuple[Path, Path]:
        """A certificate that this cluster trusts, for a server on loopback or a client."""
        return self._authority.issue(name, user, group)

    @property
    def authority(self) -> Path:
        """The certificate authority's file."""
        return self._authority.path

    def _write_kubeconfig(self, name: str, pair: tuple[Path, Path]) -> Path:
        certificate, key = pair
        cluster = {
            "server": f"https://127.0.0.1:{self._api_port}",
            "certificate-authority-data": _base64(self._authority.path),
        }
        user = {
            "client-certificate-data": _base64(certificate),
            "client-key-data": _base64(key),
        }
        return write_kubeconfig(self.folder / f"{name}.kubeconfig", cluster, user)

    def _etcd_command(self) -> list[str]:
        here, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        return [
            str(self._programs / "etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={here}",
            f"--advertise-client-urls={here}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _api_command(self) -> list[str]:
        certificate, key = self._authority.issue("apiserver", "kube-apiserver")
        kubelet = self._authority.issue("kubelet-client", "kubelet-client", "system:masters")
        private, public = signing_keys(self._authority.folder)
        return [
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._api_port}",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self._authority.folder}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self._authority.path}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={private}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={kubelet[0]}",
            f"--kubelet-client-key={kubelet[1]}",
            f"--kubelet-certificate-authority={self._authority.path}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _controllers_command(self) -> list[str]:
        program = self._programs / "kube-controller-manager"
        pair = self._authority.issue("controllers", "system:kube-controller-manager")
        kubeconfig = self._write_kubeconfig("controllers", pair)
        certificates = self._authority.folder / "controllers"
        command = [
            str(program),
            *(f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-")),
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={certificates}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._authority.folder / 'accounts.key'}",
            f"--root-ca-file={self._authority.path}",
            f"--controllers={_CONTROLLERS}",
            "--kube-api-qps=400",
            "--kube-api-burst=800",
        ]
        # Old ones also listen without encryption, all on the same port.
        return [*command, "--port=0"] if _minor(program) < 22 else command

    def _wait(self, server: Server, url: str) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline:
            if not server.lives:
                raise Unavailable(f"{server.name} ended: {server.said()}\n({server.log})")
            with contextlib.suppress(OSError, urllib.error.URLError):
                trust = ssl.create_default_context(cafile=str(self._authority.path))
                trust.load_cert_chain(*map(str, self.admin))
                context = trust if url.startswith("https") else None
                with urllib.request.urlopen(url, timeout=5, context=context) as answer:
                    if answer.status == 200:
                        return
            time.sleep(0.1)
        raise Unavailable(f"{server.name} does not get ready ({server.log})")


def write_kubeconfig(
    path: Path, cluster: dict[str, str], user: dict[str, str], namespace: str = "default"
) -> Path:
    """Write a kubeconfig with one context, readable by its owner only."""
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(data))
    return path


def _cluster(kubeconfig: Path) -> dict[str, str]:
    data = yaml.safe_load(kubeconfig.read_text())
    named = {kind: {i["name"]: i for i in data[kind]} for kind in ("contexts", "clusters")}
    context = named["contexts"][data["current-context"]]["context"]
    found: dict[str, str] = named["clusters"][context["cluster"]]["cluster"]
    return found


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _minor(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"v1\.(\d+)", said)
    return int(found.group(1)) if found else 99
