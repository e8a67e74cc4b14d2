from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from astroctl.serving import key_files, keys
from astroctl.serving.served import Served, forget, remember
from astrosage.serve import auth
from astrosage.serve.auth import KeyFolder
from astrosage.serve.errors import ApiError
from astrosage.serve.keys import Rates
from astrosage.serve.usage import UsageFile
from tests.astroctl.conftest import Astroctl


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Served, dict[str, Any]]:
    """A model that counts as served on the local target, and what its server was told."""
    monkeypatch.setattr(auth, "_READ_AGAIN_SECONDS", 0.0)
    file, told = keys.own("org/tiny", local=True)
    found = Served("org/tiny", "m", "http://127.0.0.1:8000/v1", str(file), "local", "")
    remember(found)
    return found, told


def let_in(folder: str, key: str) -> str | None:
    try:
        return KeyFolder(folder).require(f"Bearer {key}").name
    except ApiError:
        return None


def test_keys_come_and_go_while_the_server_runs(
    served: tuple[Served, dict[str, Any]], astroctl: Astroctl
) -> None:
    found, told = served
    running = KeyFolder(told["keyFolder"])
    own = Path(found.key_file).read_text()
    assert running.require(f"Bearer {own}").name == "default"
    added = astroctl("keys", "add", "alice", "--requests-per-minute", 60)
    key = added.stdout.strip()
    assert key.startswith("sk-")
    assert key not in added.stderr
    assert running.require(f"Bearer {key}").rates == Rates(requests_per_minute=60)
    assert astroctl("keys", "revoke", "alice").exit_code == 0
    with pytest.raises(ApiError):
        running.require(f"Bearer {key}")
    assert running.require(f"Bearer {own}")


def test_only_hashes_are_at_rest(
    served: tuple[Served, dict[str, Any]], astroctl: Astroctl, home: Path
) -> None:
    found, _ = served
    key = json.loads(astroctl("keys", "add", "alice", "-o", "json").stdout)["key"]
    files = [f for f in home.rglob("*") if f.is_file()]
    holders = [f for f in files if key in f.read_text()]
    assert holders == []
    own = Path(found.key_file).read_text()
    assert [f for f in files if own in f.read_text()] == [Path(found.key_file)]
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 or file.suffix == ".lock"


def test_list_shows_limits_and_usage_but_no_key(
    served: tuple[Served, dict[str, Any]], astroctl: Astroctl
) -> None:
    found, told = served
    key = astroctl("keys", "add", "alice", "--tokens-per-minute", 500).stdout.strip()
    astroctl("keys", "add", "bob")
    usage = UsageFile(told["usageFile"])
    usage.add("alice", 10, 4)
    usage.add("alice", 1, 1)
    usage.add("bob", 1, 1)
    usage.close()
    astroctl("keys", "revoke", "bob")
    text = astroctl("keys", "list").stdout
    assert "500 tokens" in text
    assert "bob (revoked)" in text
    assert "usage since 20" in text
    data = json.loads(astroctl("keys", "list", "--model", "org/tiny", "-o", "json").stdout)
    rows = {row["name"]: row for row in data["keys"]}
    assert set(rows) == {"default", "alice", "bob"}
    assert (rows["alice"]["requests"], rows["alice"]["promptTokens"]) == (2, 11)
    assert rows["default"]["requests"] == 0
    everything = text + json.dumps(data)
    for secret in (key, Path(found.key_file).read_text()):
        assert secret not in everything


def test_a_new_version_keeps_the_keys(
    served: tuple[Served, dict[str, Any]], astroctl: Astroctl
) -> None:
    found, told = served
    own = Path(found.key_file).read_text()
    key = astroctl("keys", "add", "alice").stdout.strip()
    assert keys.own("org/tiny", local=True) == (Path(found.key_file), told)
    assert Path(found.key_file).read_text() == own
    assert let_in(told["keyFolder"], key) == "alice"


def test_stopping_forgets_everything(
    served: tuple[Served, dict[str, Any]], astroctl: Astroctl, home: Path
) -> None:
    astroctl("keys", "add", "alice")
    forget("org/tiny")
    assert list((home / "keys").iterdir()) == []


def test_a_remote_server_is_told_the_hash(home: Path) -> None:
    file, told = keys.own("tiny", local=False)
    assert set(told["keyHashes"]) == {"default"}
    assert file.read_text() not in json.dumps(told)
    remember(Served("tiny", "m", "http://x/v1", str(file), "ray", "http://x"))
    assert not key_files.key_folder("tiny").exists()


@pytest.mark.parametrize(
    ("line", "code", "named"),
    [
        (("add", "default"), 4, "has a key `default` already"),
        (("add", "a/b"), 2, "NAME"),
        (("revoke", "defalt"), 3, "did you mean `default`?"),
        (("revoke", "default"), 4, "last key"),
        (("list", "--model", "other"), 3, "org/tiny"),
    ],
)
def test_what_cannot_be(
    served: tuple[Served, dict[str, Any]],
    astroctl: Astroctl,
    line: tuple[str, ...],
    code: int,
    named: str,
) -> None:
    result = astroctl("keys", *line)
    assert result.exit_code == code, result.stderr
    assert named in result.stderr
    assert "hint: " in result.stderr


def test_keys_elsewhere_are_not_files_of_this_machine(home: Path, astroctl: Astroctl) -> None:
    remember(Served("far", "m", "http://x/v1", "", "ray", "http://x"))
    result = astroctl("keys", "add", "alice", "--model", "far")
    assert result.exit_code != 0
    assert "does not see this machine's files" in result.stderr
    remember(Served("kube", "m", "http://x/v1", "", "kubernetes", "", "kube", "team"))
    result = astroctl("keys", "revoke", "alice", "--model", "kube")
    assert "kubectl edit secret -n team kube-api-keys" in result.stderr


def test_a_key_file_that_was_spoilt_is_named(
    served: tuple[Served, dict[str, Any]], astroctl: Astroctl
) -> None:
    (Path(served[1]["keyFolder"]) / "spoilt").write_text('{"sha256": 3}')
    result = astroctl("keys", "list")
    assert result.exit_code != 0
    assert "spoilt" in result.stderr
