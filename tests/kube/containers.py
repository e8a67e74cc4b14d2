"""A pod's containers as local processes: their environment, their volumes, their logs.

There is no image and no mount. Volumes are local folders, and wherever a mount path stands in a
command or a variable, the folder's path is put in its place.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import CONFIGMAP, SECRET

_POLL_SECONDS = 0.05


class Container:
    """One container.

    Args:
        kube: Where Secrets and ConfigMaps are read.
        pod: Its pod.
        spec: Of the container.
        volumes: The pod's volumes: name and folder.
        folder: Gets its log.
        kubeconfig: Of its service account, in the place of a mounted token.
    """

    def __init__(
        self,
        kube: Kube,
        pod: Object,
        spec: Object,
        volumes: dict[str, Path],
        folder: Path,
        kubeconfig: Path | None = None,
    ) -> None:
        self._kube, self._pod, self.spec = kube, pod, spec
        self._kubeconfig = kubeconfig
        self.name = str(spec["name"])
        self.mounts = {
            m["mountPath"]: volumes[m["name"]] / m.get("subPath", "")
            for m in spec.get("volumeMounts") or []
            if m["name"] in volumes
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{self.name}.log"
        self.log.touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None

    def place(self, text: str) -> str:
        """A text with the folders of mounted volumes in place of their mount paths."""
        folders = {path.rstrip("/"): str(folder) for path, folder in self.mounts.items()}
        if not folders:
            return text
        # At once, since a folder's own path may begin with another mount path.
        paths = "|".join(map(re.escape, sorted(folders, key=len, reverse=True)))
        return re.sub(rf"(?<![\w./-])({paths})(?![\w.-])", lambda m: folders[m[1]], text)

    def environment(self) -> dict[str, str]:
        """Variables as the kubelet would set them, over a search path with this Python."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        found = {"PATH": path, "HOME": str(self.log.parent), "HOSTNAME": self._name}
        if self._kubeconfig is not None:
            found["KUBECONFIG"] = str(self._kubeconfig)
        for source in self.spec.get("envFrom") or []:
            found.update(self._all_of(source))
        for variable in self.spec.get("env") or []:
            value = self._value(variable)
            if value is not None:
                found[variable["name"]] = self.place(value)
        return found

    def start(self) -> None:
        """Start its command, if it has one; an image's own command is not known here."""
        command = [*(self.spec.get("command") or []), *(self.spec.get("args") or [])]
        if not self.spec.get("command"):
            return
        with self.log.open("ab") as log:
            try:
                self.process = subprocess.Popen(
                    [self.place(part) for part in command],
                    env=self.environment(),
                    cwd=self.log.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                log.write(f"{error}\n".encode())
                self.exit_code = 127

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        if self.process is not None and self.exit_code is None:
            self.exit_code = self.process.poll()
        return self.exit_code

    def stop(self, grace: float) -> None:
        """End it and its children: asked for so many seconds, then killed."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            self._signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        self._signal(process, signal.SIGKILL)
        process.wait()

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)

    @property
    def _name(self) -> str:
        return str(self._pod["metadata"]["name"])

    @property
    def _namespace(self) -> str:
        return str(self._pod["metadata"]["namespace"])

    def _value(self, variable: dict[str, Any]) -> str | None:
        origin = variable.get("valueFrom")
        if origin is None:
            return str(variable.get("value") or "")
        if (field := origin.get("fieldRef")) is not None:
            return self._field(field["fieldPath"])
        if (secret := origin.get("secretKeyRef")) is not None:
            return self._data(SECRET, secret["name"]).get(secret["key"])
        if (config := origin.get("configMapKeyRef")) is not None:
            return self._data(CONFIGMAP, config["name"]).get(config["key"])
        return None

    def _field(self, path: str) -> str:
        known = {
            "metadata.name": self._name,
            "metadata.namespace": self._namespace,
            "metadata.uid": str(self._pod["metadata"]["uid"]),
            "status.podIP": "127.0.0.1",
            "status.hostIP": "127.0.0.1",
            "spec.nodeName": str(self._pod["spec"].get("nodeName", "")),
        }
        return known[path]

    def _all_of(self, source: dict[str, Any]) -> dict[str, str]:
        kind, key = (SECRET, "secretRef") if "secretRef" in source else (CONFIGMAP, "configMapRef")
        return self._data(kind, source[key]["name"])

    def _data(self, kind: Any, name: str) -> dict[str, str]:
        found = self._kube.get(kind, name, self._namespace).get("data") or {}
        if kind is CONFIGMAP:
            return dict(found)
        return {k: base64.b64decode(v).decode() for k, v in found.items()}


class Sandbox:
    """All containers of a pod.

    Args:
        kube: The cluster.
        pod: The pod.
        folder: Of the pod: its empty volumes and logs.
        claims: Folder of persistent volume claims, by namespace and name.
        kubeconfig: Of the pod's service account.
    """

    def __init__(
        self, kube: Kube, pod: Object, folder: Path, claims: Path, kubeconfig: Path | None = None
    ) -> None:
        self.pod = pod
        self._ended = threading.Event()
        volumes = volumes_of(kube, pod, folder, claims)
        spec = pod["spec"]

        def make(one: Object) -> Container:
            return Container(kube, pod, one, volumes, folder / "logs", kubeconfig)

        self.init = [make(c) for c in spec.get("initContainers") or []]
        self.containers = {str(c["name"]): make(c) for c in spec["containers"]}

    def run_init(self) -> bool:
        """Run the init containers, one after the other; tells whether all ended well."""
        for container in self.init:
            container.start()
            while container.process and container.poll() is None:
                if self._ended.wait(_POLL_SECONDS):
                    return False
            if container.exit_code:
                return False
        return True

    def start(self) -> None:
        """Start the containers."""
        for container in self.containers.values():
            container.start()

    def exit_codes(self, deadline: float | None = None) -> dict[str, int] | None:
        """Wait until all have ended; None if stopped before, or past the deadline."""
        own = [c for c in self.containers.values() if c.process or c.exit_code is not None]
        while not own or any(c.poll() is None for c in own):
            if self._ended.wait(_POLL_SECONDS) or (deadline and time.monotonic() > deadline):
                return None
        return {c.name: int(c.exit_code or 0) for c in own}

    @property
    def stopped(self) -> bool:
        """Whether it was told to end."""
        return self._ended.is_set()

    def reset(self) -> None:
        """Forget that the containers ended, so that they can be started again."""
        for container in self.containers.values():
            container.process = container.exit_code = None

    def stop(self, grace: float = 0.0) -> None:
        """End all of them."""
        self._ended.set()
        for container in [*self.init, *self.containers.values()]:
            container.stop(grace)


def volumes_of(kube: Kube, pod: Object, folder: Path, claims: Path) -> dict[str, Path]:
    """The folders that stand for a pod's volumes; those of Secrets and ConfigMaps are filled."""
    found = {}
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or []:
        path = folder / "volumes" / volume["name"]
        if (claim := volume.get("persistentVolumeClaim")) is not None:
            path = claims / namespace / claim["claimName"]
        path.mkdir(parents=True, exist_ok=True)
        for name, value in _files(kube, namespace, volume).items():
            (path / name).write_bytes(value)
        found[volume["name"]] = path
    return found


def _files(kube: Kube, namespace: str, volume: Object) -> dict[str, bytes]:
    if (secret := volume.get("secret")) is not None:
        found = kube.find(SECRET, secret["secretName"], namespace) or {}
        return {k: base64.b64decode(v) for k, v in (found.get("data") or {}).items()}
    if (config := volume.get("configMap")) is not None:
        found = kube.find(CONFIGMAP, config["name"], namespace) or {}
        return {k: v.encode() for k, v in (found.get("data") or {}).items()}
    return {}
