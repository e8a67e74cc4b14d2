from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astroctl.kube import files as kube_files
from astroctl.kube.claim_pod import LABELS, manifest
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import Forbidden
from astroctl.kube.exec import Exec, ExecCut
from astroctl.kube.files import ClaimFiles
from astroctl.kube.pods import is_ready
from astroctl.kube.resources import CLAIM, POD
from astroctl.render.settings import Settings
from astroctl.upload.hashes import Hashes
from astroctl.upload.plan import LocalFile
from astrosage.errors import (
    AstroError,
    CapacityError,
    ClusterError,
    DataError,
    NotFoundError,
    StorageError,
)
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse
from tests.kube.fixtures import UserMaker
from tests.kube.kubelet import Kubelet
from tests.kube.objects import eventually

SELECTOR = ",".join(f"{k}={v}" for k, v in LABELS.items())


def make_claim(kube: Kube, namespace: str, mode: str = "ReadWriteMany") -> None:
    kube.create(
        {
            "apiVersion": "v1",
            "kind": CLAIM.kind,
            "metadata": {"name": "data", "namespace": namespace},
            "spec": {
                "accessModes": [mode],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "none",
            },
        }
    )


@pytest.fixture
def claim(kube: Kube, namespace: str, kubelet: Kubelet) -> Path:
    """The folder behind the claim `data`."""
    make_claim(kube, namespace)
    return kubelet.claim(namespace, "data")


@pytest.fixture
def files(kube: Kube, namespace: str, claim: Path) -> Iterator[ClaimFiles]:
    with ClaimFiles(kube, namespace, "data") as opened:
        yield opened


def pods(kube: Kube, namespace: str) -> list[Object]:
    found = kube.list(POD, namespace, labels=SELECTOR)
    return [p for p in found if "deletionTimestamp" not in p["metadata"]]


def local(path: Path, content: bytes) -> LocalFile:
    path.write_bytes(content)
    return LocalFile(path, path.name, *Hashes(persistent=False).of(path))


def ignore(size: int) -> None:
    pass


def test_round_trip(files: ClaimFiles, claim: Path) -> None:
    assert files.names() == []
    assert not files.exists("runs")
    files.write("runs/a/x.json", "ä".encode())
    assert (claim / "runs/a/x.json").read_text() == "ä"
    assert files.read("runs/a/x.json") == "ä".encode()
    assert files.exists("runs")
    assert files.names("runs") == ["a"]
    assert files.sizes("runs") == {"a/x.json": 2}
    assert files.free_bytes() > 0
    (claim / "runs/a/log").write_bytes(b"0123456789")
    assert files.read("runs/a/log", offset=8) == b"89"
    assert files.read("runs/a/log", offset=2, length=3) == b"234"
    files.remove("runs/a")
    files.remove("runs/a")
    assert files.names("runs") == []
    assert files.sizes("none") == {}
    with pytest.raises(NotFoundError, match="runs/a/log does not exist"):
        files.read("runs/a/log")


def test_large_files_go_in_pieces(files: ClaimFiles, claim: Path, tmp_path: Path) -> None:
    content = os.urandom(2 * kube_files.BLOCK_BYTES + 12_345)
    files.write("big", content)
    assert (claim / "big").read_bytes() == content
    assert files.read("big") == content
    sent: list[int] = []
    files.put("other", local(tmp_path / "big", content), sent.append)
    assert sum(sent) == len(content)
    assert (claim / "other").read_bytes() == content
    assert sorted(os.listdir(claim)) == ["big", "other"]


def test_trees_come_and_go(files: ClaimFiles, claim: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/a").write_bytes(b"1" * (kube_files.BLOCK_BYTES + 1))
    (tree / "b").write_text("2")
    files.put_tree(tree, "copy")
    got = files.get_tree("copy", tmp_path / "back")
    assert (got / "sub/a").read_bytes() == (tree / "sub/a").read_bytes()
    assert (got / "b").read_text() == "2"
    assert files.get_tree("copy", tmp_path / "some", lambda f: f == "b").joinpath("b").exists()
    assert not (tmp_path / "some/sub").exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x"])
def test_nothing_outside_the_claim_is_touched(files: ClaimFiles, name: str) -> None:
    with pytest.raises(StorageError, match="leads out of the volume"):
        files.read(name)
    with pytest.raises(StorageError, match="leads out of the volume"):
        files.remove(name)
    with pytest.raises(StorageError, match="whole volume"):
        files.remove("")


def test_a_link_on_the_claim_leads_nowhere_else(files: ClaimFiles, claim: Path) -> None:
    (claim / "link").symlink_to("/etc")
    with pytest.raises(StorageError, match="leads out of the volume"):
        files.read("link/passwd")


def test_the_pod_is_restricted_and_goes_away(kube: Kube, namespace: str, claim: Path) -> None:
    settings = Settings(image="registry/ray:1", image_pull_secrets=["pull"], run_as_user=1234)
    with ClaimFiles(kube, namespace, "data", settings) as files:
        files.names()
        (pod,) = pods(kube, namespace)
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert container["image"] == "registry/ray:1"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 1234
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert not spec["automountServiceAccountToken"]
    assert spec["activeDeadlineSeconds"] > 0
    eventually(lambda: not kube.list(POD, namespace, labels=SELECTOR))


def test_the_pod_goes_away_when_interrupted(kube: Kube, namespace: str, claim: Path) -> None:
    def interrupted() -> None:
        with ClaimFiles(kube, namespace, "data"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    eventually(lambda: not kube.list(POD, namespace, labels=SELECTOR))


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
@pytest.mark.parametrize("after", [10, 6_000, 1_000_000, 5_000_000, 8_000_000])
def test_a_cut_anywhere_loses_nothing(
    kubelet: Kubelet, files: ClaimFiles, claim: Path, tmp_path: Path, protocol: str, after: int
) -> None:
    kubelet.api.protocols = (protocol,)
    content = os.urandom(2 * kube_files.BLOCK_BYTES + 999)
    file = local(tmp_path / "big", content)
    files._close_free()  # a new connection is cut, not the one that is open already
    kubelet.api.cut_after = after
    sent: list[int] = []
    try:
        files.put("big", file, sent.append)
    except ExecCut:
        whole = sum(sent)
        sent.clear()
        files.put("big", file, sent.append)
        if after > kube_files.BLOCK_BYTES + 100_000:
            assert whole > 0
            assert sent[0] >= kube_files.BLOCK_BYTES  # the first piece was not sent again
    assert kubelet.api.cut_after is None
    assert (claim / "big").read_bytes() == content
    assert os.listdir(claim) == ["big"]


def test_small_requests_survive_a_cut_unseen(
    kubelet: Kubelet, files: ClaimFiles, claim: Path
) -> None:
    for after in (3, 100, 8_000):
        files._close_free()
        kubelet.api.cut_after = after
        files.write(f"{after}", b"x" * 5_000)
        assert (claim / f"{after}").read_bytes() == b"x" * 5_000
    assert kubelet.api.cut_after is None


def test_a_pod_that_is_lost_is_replaced(
    kube: Kube, namespace: str, files: ClaimFiles, claim: Path
) -> None:
    files.write("a", b"1")
    (pod,) = pods(kube, namespace)
    kube.delete(POD, pod["metadata"]["name"], namespace)
    eventually(lambda: not kube.find(POD, pod["metadata"]["name"], namespace))
    files._close_free()  # a kubelet would have ended the process
    assert files.read("a") == b"1"
    (other,) = pods(kube, namespace)
    assert other["metadata"]["name"] != pod["metadata"]["name"]


def test_a_damaged_part_is_sent_again(files: ClaimFiles, claim: Path, tmp_path: Path) -> None:
    content = os.urandom(kube_files.BLOCK_BYTES + 50)
    file = local(tmp_path / "big", content)
    (claim / f".big.{file.sha256[:16]}.part").write_bytes(b"not what it was" * 10)
    files.put("big", file, ignore)
    assert (claim / "big").read_bytes() == content


def test_a_file_that_changes_meanwhile_is_refused(
    files: ClaimFiles, claim: Path, tmp_path: Path
) -> None:
    for size in (10, kube_files.BLOCK_BYTES + 10):
        file = local(tmp_path / "f", b"a" * size)
        file.path.write_bytes(b"b" * size)
        with pytest.raises(DataError, match="changed while it was brought along"):
            files.put("f", file, ignore)
        assert not (claim / "f").exists()


def test_two_who_bring_the_same_file_do_not_mix(
    kube: Kube, namespace: str, claim: Path, tmp_path: Path
) -> None:
    content = os.urandom(3 * kube_files.BLOCK_BYTES)
    file = local(tmp_path / "big", content)
    with ClaimFiles(kube, namespace, "data") as files:
        threads = [threading.Thread(target=files.put, args=("big", file, ignore)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (claim / "big").read_bytes() == content
    assert os.listdir(claim) == ["big"]


def test_a_running_pod_of_a_job_is_used_while_it_lasts(
    kube: Kube, namespace: str, claim: Path
) -> None:
    head = manifest("head", "data", Settings(), seconds=300)
    head["metadata"] = {
        "name": "head",
        "namespace": namespace,
        "labels": {**LABELS, "app.kubernetes.io/component": "head"},
    }
    head["spec"]["containers"].append({"name": "other", "image": "x", "command": ["sleep", "300"]})
    kube.create(head)
    eventually(lambda: is_ready(kube.get(POD, "head", namespace)))
    (claim / "a").write_bytes(b"1")
    with ClaimFiles(kube, namespace, "data") as files:
        assert files.read("a") == b"1"
        assert pods(kube, namespace) == []
        kube.delete(POD, "head", namespace)
        eventually(lambda: not kube.find(POD, "head", namespace))
        files._close_free()  # a kubelet would have ended the process
        assert files.read("a") == b"1"
        assert len(pods(kube, namespace)) == 1


def test_a_run_directory_on_a_claim(files: ClaimFiles, claim: Path, tmp_path: Path) -> None:
    job = parse(
        {
            "metadata": {"name": "r"},
            "spec": {
                "model": "smollm2-135m",
                "storage": "pvc://data/runs",
                "stages": [{"name": "m", "merge": {"models": [{"model": "smollm2-135m"}]}}],
            },
        }
    )
    run = RunDirectory(files.storage("runs").child("default", "r"))
    assert run.uri == "pvc://data/runs/default/r"
    assert not run.exists()
    assert run.progress() == {}
    run.create(job)
    on_disk = RunDirectory(claim / "runs/default/r")
    assert on_disk.job() == run.job() == job
    on_disk.write_progress({"step": 3})
    assert run.progress()["step"] == 3
    assert run.finished(job.stage("m")) is None
    with run.stage("m").storage.writing("model") as folder:
        (folder / "manifest.json").write_text('{"key": "k", "files": []}')
    assert on_disk.finished(job.stage("m")) == run.finished(job.stage("m")) != None  # noqa: E711
    copy = run.stage("m").storage.localize("model", tmp_path)
    assert (copy / "manifest.json").exists()
    run.delete()
    assert not (claim / "runs/default/r").exists()


def test_a_claim_that_is_not_there(kube: Kube, namespace: str) -> None:
    with pytest.raises(NotFoundError, match="no PersistentVolumeClaim `data`"):
        ClaimFiles(kube, namespace, "data").__enter__()


def refused(kube: Kube, namespace: str, **options: Any) -> AstroError:
    with pytest.raises(AstroError) as caught:
        ClaimFiles(kube, namespace, "data", **options).__enter__()
    eventually(lambda: not kube.list(POD, namespace, labels=SELECTOR))
    return caught.value


def test_an_image_that_cannot_be_pulled(
    kube: Kube, namespace: str, claim: Path, kubelet: Kubelet
) -> None:
    kubelet.waiting = lambda pod: ("ImagePullBackOff", 'Back-off pulling image "astrosage/ray"')
    error = refused(kube, namespace)
    assert "cannot be pulled" in error.message
    assert "imagePullSecrets" in error.hint


def test_no_room(kube: Kube, namespace: str, claim: Path, kubelet: Kubelet) -> None:
    kubelet.unschedulable = lambda pod: "0/3 nodes are available: 3 Insufficient cpu."
    said: list[str] = []
    error = refused(kube, namespace, timeout=2.0, say=said.append)
    assert "has not started in 2 s" in error.message
    assert "Insufficient cpu" in error.message
    assert "room" in error.hint
    assert any("Insufficient cpu" in line for line in said)


def test_no_quota(kube: Kube, namespace: str, claim: Path) -> None:
    quota = {"hard": {"pods": "0"}}
    meta = {"name": "none", "namespace": namespace}
    kube.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": quota})
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/none"
    eventually(lambda: (kube.request("GET", path).get("status") or {}).get("hard"))
    error = refused(kube, namespace)
    assert "exceeded quota" in error.message
    assert "quota" in error.hint
    assert not error.retryable


def test_missing_rights_are_named(
    plane: Any, kube: Kube, namespace: str, claim: Path, user: UserMaker
) -> None:
    rules = [{"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]}]
    rules.append({"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get", "delete"]})
    weak = Kube.connect(kubeconfig=str(user("weak", rules)))
    with pytest.raises(Forbidden, match="refused") as caught:
        ClaimFiles(weak, namespace, "data").__enter__()
    assert "pods/exec" in caught.value.hint
    rules[1]["verbs"].append("create")
    no_exec = Kube.connect(kubeconfig=str(user("weaker", rules)))
    with pytest.raises(Forbidden, match="exec"), ClaimFiles(no_exec, namespace, "data") as files:
        files.names()
    verbs = ["get", "create"]
    rules.append({"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs})
    enough = Kube.connect(kubeconfig=str(user("enough", rules)))
    with ClaimFiles(enough, namespace, "data") as files:
        files.write("a", b"1")
    assert (claim / "a").read_bytes() == b"1"


def test_a_claim_for_one_node_is_reached_on_that_node(
    kube: Kube, namespace: str, kubelet: Kubelet
) -> None:
    make_claim(kube, namespace, "ReadWriteOnce")
    folder = kubelet.claim(namespace, "data")
    with ClaimFiles(kube, namespace, "data") as first:
        first.write("a", b"1")
        with ClaimFiles(kube, namespace, "data") as second:
            assert second.read("a") == b"1"
            specs = [p["spec"] for p in pods(kube, namespace)]
    (bound,) = [s for s in specs if "affinity" in s]
    terms = bound["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    fields = terms["nodeSelectorTerms"][0]["matchFields"]
    assert fields == [{"key": "metadata.name", "operator": "In", "values": [kubelet.name]}]
    assert (folder / "a").exists()


def test_leftovers_of_a_killed_client_are_swept(
    kube: Kube, namespace: str, claim: Path, kubelet: Kubelet
) -> None:
    old = manifest("astrosage-files-old", "data", Settings(), seconds=1)
    kube.create({**old, "metadata": {**old["metadata"], "namespace": namespace}})
    eventually(
        lambda: (
            kube.get(POD, "astrosage-files-old", namespace)["status"]["phase"] in "Failed Succeeded"
        )
    )
    with ClaimFiles(kube, namespace, "data"):
        eventually(lambda: not kube.find(POD, "astrosage-files-old", namespace))


def test_a_pod_without_python(
    kube: Kube, namespace: str, files: ClaimFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pod,) = pods(kube, namespace)
    name = pod["metadata"]["name"]
    process = Exec(kube, namespace, name, ["no-such-program"])
    with pytest.raises(ClusterError) as caught:
        process.read(1, 10)
    process.close()
    assert "exit status 127" in caught.value.message
    monkeypatch.setattr("astroctl.kube.session.PYTHON", "no-such-python")
    files._close_free()
    with pytest.raises(CapacityError, match="has no python3") as capacity:
        files.names()
    assert "settings.image" in capacity.value.hint


def test_an_api_server_that_restarts(own_plane: Any, files: ClaimFiles, claim: Path) -> None:
    files.write("a", b"1")
    found: list[bytes] = []

    def read() -> None:
        time.sleep(0.3)
        found.append(files.read("a"))

    thread = threading.Thread(target=read)
    thread.start()
    # In the main thread: a server ends with the thread that started it.
    own_plane.restart()
    thread.join()
    assert found == [b"1"]
