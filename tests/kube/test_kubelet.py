from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from astroctl.kube.client import Kube, Object
from astroctl.kube.resources import CLAIM, POD
from tests.kube.kubelet import Kubelet
from tests.kube.objects import eventually, gone

core = pytest.importorskip("kubernetes.client")


def make_pod(kube: Kube, namespace: str, *command: str, **spec: Any) -> Object:
    container = {
        "name": "main",
        "image": "any",
        "command": list(command),
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "env": [{"name": "WHERE", "value": "/data/x"}],
    }
    volume = spec.pop("volume", {"emptyDir": {}})
    body = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "data", **volume}],
        **spec,
    }
    meta = {"name": "pod", "namespace": namespace}
    return kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})


def phase(kube: Kube, namespace: str, wanted: str) -> Object:
    def reached() -> bool:
        return bool(kube.get(POD, "pod", namespace)["status"]["phase"] == wanted)

    eventually(reached)
    return kube.get(POD, "pod", namespace)


def execute(kube: Kube, namespace: str, *command: str, stdin: bytes | None = None) -> Any:
    from kubernetes.stream import stream

    return stream(
        core.CoreV1Api(core.ApiClient(kube.api.configuration)).connect_get_namespaced_pod_exec,
        "pod",
        namespace,
        command=list(command),
        stdin=stdin is not None,
        stdout=True,
        stderr=True,
        binary=True,
        _preload_content=False,
    )


def finish(answer: Any) -> tuple[int, bytes, bytes]:
    out = err = b""
    while answer.is_open():
        answer.update(timeout=5)
        out += answer.read_stdout(timeout=0) if answer.peek_stdout() else b""
        err += answer.read_stderr(timeout=0) if answer.peek_stderr() else b""
    answer.sock.shutdown()  # close() leaves the socket open when the server closed first
    return answer.returncode, out, err


def test_a_command_runs_to_its_end(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    make_pod(kube, namespace, "sh", "-c", "echo $WHERE; exit 3")
    pod = phase(kube, namespace, "Failed")
    state = pod["status"]["containerStatuses"][0]["state"]
    assert state["terminated"]["exitCode"] == 3
    log = kube.request("GET", POD.path(namespace, "pod", "log"), stream=True).data
    assert log.decode().endswith("/data/x\n")
    kube.delete(POD, "pod", namespace)
    eventually(lambda: gone(kube, POD, "pod", namespace))


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_files_go_in_and_out_by_exec(
    kube: Kube, namespace: str, kubelet: Kubelet, protocol: str
) -> None:
    kubelet.api.protocols = (protocol,)
    make_pod(kube, namespace, "sleep", "300")
    phase(kube, namespace, "Running")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("a/b")
        member.size = 300_000
        archive.addfile(member, io.BytesIO(b"x" * 300_000))
    answer = execute(kube, namespace, "tar", "-xf", "-", "-C", "/data", stdin=b"")
    answer.write_stdin(packed.getvalue())
    if protocol.startswith("v5"):
        answer.close_channel(0)
    assert finish(answer)[0] == 0
    code, out, _ = finish(execute(kube, namespace, "cat", "/data/a/b"))
    assert (code, out) == (0, b"x" * 300_000)
    code, _, err = finish(execute(kube, namespace, "ls", "/data/none"))
    assert code == 2
    assert b"No such file" in err


def test_a_claim_is_a_folder_that_stays(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    volume = {"persistentVolumeClaim": {"claimName": "data"}}
    make_pod(kube, namespace, "sh", "-c", "echo hello > /data/x", volume=volume)
    condition = eventually(
        lambda: (kube.get(POD, "pod", namespace)["status"].get("conditions") or [None])[0]
    )
    assert condition["message"] == 'persistentvolumeclaim "data" not found'
    spec = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none",
    }
    meta = {"name": "data", "namespace": namespace}
    kube.create(
        {"apiVersion": "v1", "kind": CLAIM.kind, "metadata": meta, "spec": spec},
    )
    phase(kube, namespace, "Succeeded")
    assert (kubelet.claim(namespace, "data") / "x").read_text() == "hello\n"


def test_what_keeps_a_pod_waiting_is_told(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    refusal = ("ImagePullBackOff", 'Back-off pulling image "any"')
    kubelet.waiting = lambda pod: refusal
    make_pod(kube, namespace, "sleep", "300")
    status = eventually(lambda: kube.get(POD, "pod", namespace)["status"].get("containerStatuses"))
    assert status[0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    kubelet.waiting = lambda pod: None
    phase(kube, namespace, "Running")


def test_ports_are_forwarded(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    import http.server
    import threading

    from kubernetes.stream import portforward

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kubelet.ports["pod", 8265] = server.server_port
    make_pod(kube, namespace, "sleep", "300")
    phase(kube, namespace, "Running")
    forward = portforward(
        core.CoreV1Api(
            core.ApiClient(kube.api.configuration)
        ).connect_get_namespaced_pod_portforward,
        "pod",
        namespace,
        ports="8265",
    )
    sock = forward.socket(8265)
    sock.settimeout(10)
    sock.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
    assert sock.recv(1000).startswith(b"HTTP/1.0 200")
    forward.close()
    eventually(lambda: not forward.connected)
    forward.websocket.shutdown()
    server.shutdown()
    server.server_close()
    thread.join()
