"""Starting the local cluster's head, with a small server in Ray's place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from astroctl.targets import head
from astrosage.errors import ClusterError

# Answers as the dashboard does; the first one that runs ends as Ray does when a port is taken.
_SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Dashboard(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"version": "4", "ray_version": "2.60.0", "ray_commit": "x"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

port, folder, failures, words = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
server = HTTPServer(("127.0.0.1", port), Dashboard)
starts = folder / "starts"
count = len(starts.read_text()) if starts.exists() else 0
starts.write_text("x" * (count + 1))
if count < failures:
    server.timeout = 0.5
    server.handle_request()  # it answers before it ends
    print(words, flush=True)
    sys.exit(1)
print("Ray runtime started.", flush=True)
server.serve_forever()
"""


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("ASTROCTL_HOME", str(tmp_path / "home"))
    yield
    head.stop()


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, failures: int, words: str) -> None:
    script = folder / "server.py"
    script.write_text(_SERVER)

    def command(dashboard: int, gcs: int, client: int, temp_dir: str) -> list[str]:
        return [sys.executable, str(script), str(dashboard), str(folder), str(failures), words]

    monkeypatch.setattr(head, "_command", command)


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


@pytest.mark.usefixtures("ended")
def test_a_head_that_lost_a_port_is_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(monkeypatch, tmp_path, 2, "RuntimeError: Failed to bind to address 127.0.0.1:10001")
    assert head.begin()
    found = head.wait()
    assert found.lives
    assert found.answers()
    assert starts(tmp_path) == 3


@pytest.mark.usefixtures("ended")
def test_a_head_that_always_loses_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(monkeypatch, tmp_path, 9, "Failed to bind to address 127.0.0.1:10001")
    head.begin()
    with pytest.raises(ClusterError, match="has ended: Failed to bind"):
        head.wait()
    assert starts(tmp_path) == 3


@pytest.mark.usefixtures("ended")
def test_a_head_that_ends_for_another_reason_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(monkeypatch, tmp_path, 1, "no space left on device")
    head.begin()
    with pytest.raises(ClusterError, match="no space left"):
        head.wait()
    assert starts(tmp_path) == 1
