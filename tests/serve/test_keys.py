from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.errors import SpecError
from astrosage.serve import auth
from astrosage.serve.auth import KeyFolder, KeyRing
from astrosage.serve.errors import ApiError
from astrosage.serve.keys import KeyRecord, Rates, check_name, digest


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_READ_AGAIN_SECONDS", 0.0)


def test_a_record_keeps_the_hash_and_never_the_key() -> None:
    record = KeyRecord.of("sk-secret", created="2026-01-01", rates=Rates(requests_per_minute=5))
    assert "secret" not in record.text()
    assert KeyRecord.parse(record.text().encode()) == record
    assert json.loads(record.text()) == {
        "sha256": digest("sk-secret"),
        "created": "2026-01-01",
        "requestsPerMinute": 5,
    }


@given(st.text(min_size=1).filter(lambda t: t.strip() and not t.strip().startswith("{")))
def test_a_file_may_hold_the_key_itself(key: str) -> None:
    raw = key.encode("utf-8", "surrogatepass")
    assert KeyRecord.parse(raw) == KeyRecord.of(raw.strip())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b" \n", "empty"),
        (b"{", "JSON"),
        (b'{"sha256": "secret"}', "sha256"),
        (b'{"sha256": "' + b"0" * 64 + b'", "requestsPerMinute": 0}', "requestsPerMinute"),
        (b'{"sha256": "' + b"0" * 64 + b'", "secret": 1}', "unknown_field"),
    ],
)
def test_a_broken_record_is_told_without_its_content(content: bytes, named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        KeyRecord.parse(content)
    assert "secret" not in str(caught.value)


def test_records_and_plain_keys_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("first\n")
    rates = Rates(tokens_per_minute=7)
    (tmp_path / "hashed").write_text(KeyRecord.of("second", rates=rates).text())
    keys = KeyFolder(tmp_path)
    assert keys.require("Bearer first").name == "plain"
    found = keys.require("bearer second")
    assert (found.name, found.rates) == ("hashed", rates)
    (tmp_path / "hashed").unlink()
    with pytest.raises(ApiError, match="unknown"):
        keys.require("Bearer second")


def test_a_hash_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "hashed").write_text(KeyRecord.of("second").text())
    with pytest.raises(ApiError):
        KeyFolder(tmp_path).require(f"Bearer {digest('second')}")


def test_a_broken_record_lets_nobody_in_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "good").write_text("first")
    (tmp_path / "bad").write_text('{"sha256": "sk-secret"}')
    with caplog.at_level(logging.WARNING):
        keys = KeyFolder(tmp_path)
        for _ in range(3):
            keys.require("Bearer first")
    found = keys.keys()
    assert [key.name for key in found] == ["good"]
    (told,) = caplog.messages
    assert "bad" in told
    assert "sk-secret" not in told
    with pytest.raises(ApiError):
        keys.require("Bearer sk-secret")


def test_hashes_have_names() -> None:
    named = KeyRing({"alice": digest("a"), "bob": digest("b").upper()})
    assert named.require("Bearer b").name == "bob"
    assert KeyRing([digest("a"), digest("b")]).require("Bearer b").name == "key-2"
    with pytest.raises(SpecError, match=r"keyHashes\.alice"):
        KeyRing({"alice": "sk-secret"})


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 64, "-a", "ä"])
def test_names_that_cannot_be_files(name: str) -> None:
    with pytest.raises(SpecError, match="NAME"):
        check_name(name)


def test_own_limits_come_before_the_servers() -> None:
    default = Rates(requests_per_minute=10, tokens_per_minute=100)
    assert Rates(tokens_per_minute=5).over(default) == Rates(
        requests_per_minute=10, tokens_per_minute=5
    )
    assert Rates().over(Rates()) == Rates()
