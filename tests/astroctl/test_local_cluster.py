"""Against a real Ray head that astroctl starts on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from astroctl.runs import launch, registry
from astroctl.runs.registry import Record
from astroctl.targets import head, ports, processes
from astroctl.targets.base import ACTIVE, Submission
from astroctl.targets.local import LocalTarget
from astroctl.targets.ray import RayTarget
from astrosage.errors import ConflictError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import load
from tests.astroctl.conftest import Astroctl, job_data, write_run

pytestmark = pytest.mark.api

PORT = 18220
BEGIN = (
    "import sys; from astroctl.targets import head; "
    "began = head.begin(int(sys.argv[1])); print(began, head.wait().pid)"
)


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One head for the module, with a state folder of its own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTROCTL_HOME", str(folder))
        patch.delenv("RAY_AUTH_TOKEN", raising=False)
        patch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
        yield folder
        head.stop()


@pytest.fixture
def running() -> head.Head:
    """The head, started if an earlier test ended it."""
    head.begin(PORT)
    return head.wait()


class Shell(LocalTarget):
    """Runs a command of the test's in place of the pipeline."""

    def __init__(self, code: str) -> None:
        super().__init__(PORT)
        self._code = code

    def entrypoint(self, submission: Submission) -> str:
        return f'{sys.executable} -u -c "{self._code}"'


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def submit(code: str, folder: Path, model: Path, texts: Path, name: str) -> Record:
    file = write_run(folder / f"{name}.yaml", job_data(model, texts, name))
    job = load(file)
    record, warnings = launch.submit(job, job.spec.stages, Shell(code))
    assert warnings == []
    return record


def test_first_submits_at_the_same_time_start_one_head() -> None:
    command = [sys.executable, "-c", BEGIN, str(PORT)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate(timeout=90)[0].split() for p in both]
    assert sorted(began for began, _ in said) == ["False", "True"]
    assert said[0][1] == said[1][1]


def test_the_dashboard_wants_the_token(running: head.Head) -> None:
    url = f"{running.address}/api/version"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer wrong"}).status_code in (401, 403)
    assert running.api().version().startswith("2.60")
    assert head.token_path().stat().st_mode & 0o077 == 0
    token = head.token_path().read_text()
    for pid in processes.family(running.pid, f"ASTROCTL_CLUSTER={running.marker}"):
        assert token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")
def test_nothing_listens_beyond_loopback(running: head.Head) -> None:
    running.api().submit("echo hi", "warm-up", {}, {})
    until(lambda: (running.api().get("warm-up") or {})["status"] == "SUCCEEDED")
    mine = head.inodes(running)
    found = {(address, port) for address, port, inode in ports.listening() if inode in mine}
    assert ("127.0.0.1", PORT) in found
    assert {address for address, _ in found} == {"127.0.0.1"}
    # The test above can fail: the machine has an address of its own that nothing is bound to.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        outward = probe.getsockname()[0]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{outward}:{PORT}/api/version")


def test_another_port_than_the_running_heads_is_refused(running: head.Head) -> None:
    with pytest.raises(ConflictError, match=str(PORT)):
        head.begin(PORT + 10)


def test_submit_logs_and_stop_of_a_job(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path, astroctl: Astroctl
) -> None:
    code = "import time; print('at work'); time.sleep(300)"
    record = submit(code, tmp_path, tiny_model, texts, "sleeper")
    assert record.submission_id == "default-sleeper-1"
    until(lambda: "at work" in astroctl("logs", "sleeper").stdout)
    status = json.loads(astroctl("status", "sleeper", "-o", "json").stdout)
    assert (status["phase"], status["jobStatus"]) == ("pending", "RUNNING")
    again = astroctl("resume", "sleeper")
    assert again.exit_code == 4
    assert "astroctl stop sleeper" in again.stderr
    second = astroctl("submit", "train", "-f", tmp_path / "sleeper.yaml")
    assert second.exit_code == 4

    stopped = astroctl("stop", "sleeper", "-o", "json")
    assert stopped.exit_code == 0, stopped.stderr
    # This driver could not say so itself: the run directory says it all the same.
    assert RunDirectory(record.uri).progress()["phase"] == "stopped"
    assert json.loads(stopped.stdout)["phase"] == "stopped"
    assert running.api().get(record.submission_id or "")["status"] == "STOPPED"  # type: ignore[index]


def test_ctrl_c_while_following_leaves_the_run_going(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path
) -> None:
    record = submit("import time; time.sleep(300)", tmp_path, tiny_model, texts, "detach")
    watcher = subprocess.Popen(
        [sys.executable, "-m", "astroctl", "status", "detach", "--watch"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watcher.stderr is not None
    assert "pending" in watcher.stderr.readline()
    watcher.send_signal(signal.SIGINT)
    _, said = watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    assert "astroctl status detach --watch" in said
    assert "astroctl stop detach" in said
    assert LocalTarget().state(record.submission_id).status in ACTIVE
    LocalTarget().stop(record.submission_id)


def test_a_driver_that_dies_is_seen_as_interrupted_and_can_be_resumed(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path, astroctl: Astroctl
) -> None:
    record = submit("raise SystemExit(9)", tmp_path, tiny_model, texts, "dies")
    watched = astroctl("status", "dies", "--watch")
    assert watched.exit_code == 130
    assert "interrupted" in watched.stderr
    # What it makes stays; how often it is tried again may change.
    changed = load(tmp_path / "dies.yaml", ["spec.retry.maxFailures=7"])
    second, _ = launch.go_on(record, Shell("print('again')"), changed)
    assert (second.attempt, second.submission_id) == (2, "default-dies-2")
    assert RunDirectory(record.uri).job().spec.retry.max_failures == 7
    until(lambda: "again" in astroctl("logs", "dies").stdout)


def test_a_real_run_through_both_targets(
    running: head.Head,
    tmp_path: Path,
    tiny_model: Path,
    texts: Path,
    astroctl: Astroctl,
    cluster: Path,
) -> None:
    file = write_run(tmp_path / "job.yaml", job_data(tiny_model, texts, "real"))
    result = astroctl("submit", "prepare", "-f", file, "--follow", "-o", "json")
    assert result.exit_code == 0, result.stderr
    done = json.loads(result.stdout)
    assert done["phase"] == "succeeded"
    assert (Path(done["directory"]) / "stages/corpus/shards/manifest.json").exists()
    nothing = astroctl("resume", "real")
    assert nothing.exit_code == 0
    assert "nothing to do" in nothing.stderr
    plan = json.loads(astroctl("submit", "-f", file, "--dry-run", "-o", "json").stdout)
    assert [s["state"] for s in plan["stages"]] == ["finished", "run"]

    # As on a cluster elsewhere: the code is uploaded, the token comes from Ray's own variable.
    elsewhere = astroctl(
        *("submit", "prepare", "-f", file, "--set", "metadata.name=uploaded"),
        *("--address", running.address, "--follow"),
        env={"RAY_AUTH_TOKEN_PATH": str(cluster / "token")},
    )
    assert elsewhere.exit_code == 0, elsewhere.stderr
    job = running.api().get("default-uploaded-1")
    assert job is not None
    assert job["runtime_env"]["working_dir"].startswith("gcs://_ray_pkg_")
    assert registry.get("default/uploaded").address == running.address  # type: ignore[union-attr]


def test_a_wrong_token_is_told_of(running: head.Head, run_file: Path, astroctl: Astroctl) -> None:
    result = astroctl(
        "submit",
        "prepare",
        "-f",
        run_file,
        "--address",
        running.address,
        env={"RAY_AUTH_TOKEN": "wrong"},
    )
    assert result.exit_code == 5
    assert "RAY_AUTH_TOKEN" in result.stderr
    assert not (run_file.parent / "runs/default/small").exists()


def test_a_fork_takes_over_what_is_finished(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path, astroctl: Astroctl
) -> None:
    data = job_data(tiny_model, texts, "first")
    file = write_run(tmp_path / "job.yaml", data)
    assert astroctl("submit", "prepare", "-f", file, "--follow").exit_code == 0
    data["spec"]["stages"][1]["train"]["learningRate"] = 0.5
    write_run(file, data)
    refused = astroctl("submit", "prepare", "-f", file)
    assert refused.exit_code == 4
    assert "spec.stages[cpt].train.learningRate: 2e-05 -> 0.5" in refused.stderr
    forked = astroctl("submit", "prepare", "-f", file, "--fork", "second", "--follow")
    assert forked.exit_code == 0, forked.stderr
    assert "fork of default/first: takes over corpus" in forked.stderr
    first, second = (tmp_path / "runs/default" / n for n in ("first", "second"))
    tokens = "stages/corpus/shards/manifest.json"
    assert (second / tokens).samefile(first / tokens)
    (entry,) = json.loads((second / "lineage.json").read_text())["artefacts"]
    assert entry["takenFrom"]["run"] == "default/first"
    state = json.loads(astroctl("status", "second", "-o", "json").stdout)
    assert [s["phase"] for s in state["progress"]["stages"]] == ["skipped"]
    log = (second / "stages/corpus/logs/driver.log").read_text()
    assert "is taken over from" in log


def test_a_submission_that_the_cluster_refuses_leaves_no_run(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path
) -> None:
    job = load(write_run(tmp_path / "job.yaml", job_data(tiny_model, texts, "taken")))
    running.api().submit("sleep 300", "default-taken-1", {}, {})
    with pytest.raises(ConflictError, match="default-taken-1"):
        launch.submit(job, job.spec.stages, Shell("print(1)"))
    assert not RunDirectory.of(job).storage.exists()
    assert registry.get("default/taken") is None
    running.api().stop("default-taken-1")
    until(lambda: running.api().get("default-taken-1")["status"] == "STOPPED")  # type: ignore[index]
    # Once that job is over its record makes way.
    record, _ = launch.submit(job, job.spec.stages, Shell("print(1)"))
    assert record.submission_id == "default-taken-1"


def test_delete_removes_directory_job_and_record(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path, astroctl: Astroctl
) -> None:
    record = submit("import time; time.sleep(300)", tmp_path, tiny_model, texts, "gone")
    assert astroctl("delete", "gone", input="n\n").exit_code == 130
    assert Path(record.uri).exists()
    assert astroctl("delete", "gone", "--yes").exit_code == 0
    assert not Path(record.uri).exists()
    assert running.api().get(record.submission_id) is None
    assert astroctl("status", "gone").exit_code == 3


def test_models_are_served_side_by_side_and_asked(
    running: head.Head, tiny_model: Path, astroctl: Astroctl, cluster: Path
) -> None:
    port = PORT + 30
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen(1)
        taken = astroctl("serve", tiny_model, "--port", port)
        assert taken.exit_code == 4
        assert f"port {port} on 127.0.0.1 is in use" in taken.stderr

    options = ("--port", port, "--cpus", 0.5, "-o", "json")
    first = json.loads(astroctl("serve", tiny_model, "--name", "first", *options).stdout)
    assert first["url"] == f"http://127.0.0.1:{port}/v1"
    assert Path(first["keyFile"]).stat().st_mode & 0o077 == 0
    assert httpx.get(f"{first['url']}/models").status_code == 401
    second = json.loads(astroctl("serve", tiny_model, "--name", "second", *options).stdout)
    assert second["url"] == f"http://127.0.0.1:{port}/second/v1"
    served = json.loads(astroctl("serve", "--status", "-o", "json").stdout)
    assert {(s["name"], s["status"]) for s in served} == {
        ("first", "RUNNING"),
        ("second", "RUNNING"),
    }
    asked = ("ask", "What is a star?", "--max-tokens", 8, "--seed", 1, "-o", "json")
    answers = [json.loads(astroctl(*asked, "--model", m).stdout) for m in ("first", "second")]
    assert [a["model"] for a in answers] == ["first", "second"]
    assert answers[0]["answer"] == answers[1]["answer"] != ""
    streamed = astroctl("ask", "-", "--max-tokens", 8, "--seed", 1, input="What is a star?")
    assert streamed.stdout.rstrip("\n") == answers[1]["answer"].rstrip("\n")
    refused = astroctl("ask", "x", "--url", first["url"], "--model", "first")
    assert refused.exit_code == 2
    assert "--key-file" in refused.stderr
    elsewhere = astroctl("serve", tiny_model, "--name", "third", "--port", port + 1)
    assert elsewhere.exit_code == 4
    assert str(port) in elsewhere.stderr

    assert astroctl("serve", "--stop", "second").exit_code == 0
    assert not Path(second["keyFile"]).exists()
    names = [s["name"] for s in json.loads(astroctl("serve", "--status", "-o", "json").stdout)]
    assert names == ["first"]
    assert astroctl("serve", "--stop", "second").exit_code == 3


def test_doctor_finds_nothing_wrong(running: head.Head, astroctl: Astroctl, tmp_path: Path) -> None:
    result = astroctl("doctor", "--storage", tmp_path / "new", "-o", "json")
    found = {r["name"]: r["state"] for r in json.loads(result.stdout)}
    assert found["local cluster"] == "ok"
    assert found["token files"] == "ok"
    assert "fail" not in found.values()
    assert not (tmp_path / "new").exists()
    head.token_path().chmod(0o644)
    broken = astroctl("doctor")
    head.token_path().chmod(0o600)
    assert broken.exit_code == 1
    assert "chmod 600" in broken.stdout


def test_a_head_that_was_killed_is_cleared_away_and_started_anew(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path, astroctl: Astroctl
) -> None:
    record = submit("import time; time.sleep(300)", tmp_path, tiny_model, texts, "orphan")
    log = RunDirectory(record.uri).stage("corpus").storage
    log.write_bytes("logs/driver.log", b"written by the driver\n")
    log.write_bytes("logs/train-rank1.log", b"written by rank 1\n")
    until(lambda: running.api().get(record.submission_id)["status"] == "RUNNING")  # type: ignore[index]
    before = processes.family(running.pid, f"ASTROCTL_CLUSTER={running.marker}")
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: head.running() is None)

    status = json.loads(astroctl("status", "orphan", "-o", "json").stdout)
    assert status["phase"] == "interrupted"
    assert status["hint"]
    logs = astroctl("logs", "orphan").stdout
    assert "written by the driver" in logs
    assert "written by rank 1" in logs
    assert astroctl("logs", "orphan", "--rank", 1).stdout.count("written by") == 1
    assert astroctl("logs", "orphan", "--rank", 7).exit_code == 3

    assert head.begin(PORT)
    again = head.wait()
    assert again.pid != running.pid
    assert not Path(running.temp_dir).exists()
    assert not [pid for pid in before if processes.started(pid)]


def test_down_ends_the_cluster_and_runs_can_still_be_looked_at(
    running: head.Head, tmp_path: Path, tiny_model: Path, texts: Path, astroctl: Astroctl
) -> None:
    record = submit("import time; time.sleep(300)", tmp_path, tiny_model, texts, "left")
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    family = processes.family(running.pid, f"ASTROCTL_CLUSTER={running.marker}")
    assert len(family) > 5
    down = astroctl("down", "-o", "json")
    assert json.loads(down.stdout) == {"stopped": True}
    assert not [pid for pid in family if processes.started(pid)]
    assert not Path(running.temp_dir).exists()
    assert not head.token_path().exists()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert "no local cluster" in astroctl("down").stdout

    assert json.loads(astroctl("status", "left", "-o", "json").stdout)["phase"] == "interrupted"
    stopped = astroctl("stop", "left", "-o", "json")
    assert json.loads(stopped.stdout)["phase"] == "stopped"
    rows = json.loads(astroctl("list", "--storage", tmp_path / "runs", "-o", "json").stdout)
    assert [(r["name"], r["phase"]) for r in rows] == [("left", "stopped")]
    assert astroctl("delete", "left", "-y").exit_code == 0
    assert not Path(record.uri).exists()


def test_a_named_port_in_use_is_a_clear_error() -> None:
    head.stop()
    with socket.socket() as server:
        server.bind(("127.0.0.1", PORT + 20))
        server.listen(1)
        with pytest.raises(ConflictError, match=f"port {PORT + 20} is in use"):
            head.begin(PORT + 20)
    assert head.read() is None


def test_ray_target_takes_its_address_from_rays_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "head:8265")
    assert RayTarget().address == "http://head:8265"
