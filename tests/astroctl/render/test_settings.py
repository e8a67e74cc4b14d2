from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from astroctl.render.settings import VARIABLE, Settings, load, parse
from astrosage.errors import NotFoundError, SpecError


def test_no_file_means_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert load() == Settings()
    assert parse("") == Settings()


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("image: registry.example.org/ray:1\nhead: {memory: 4Gi}\n")
    monkeypatch.setenv(VARIABLE, str(file))
    found = load()
    assert (found.image, found.head.memory) == ("registry.example.org/ray:1", "4Gi")


def test_settings_survive_being_written() -> None:
    given = Settings(service_account="jobs", kueue="off", run_as_user=None)
    written = yaml.safe_dump(given.model_dump(mode="json", by_alias=True))
    assert parse(written) == given


def test_every_field_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere.yaml cannot be read: No such file"):
        load(str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML at line 1, column 5"),
        ("- a", "expected fields such as"),
        ("imagee: x", "imagee: unknown field; did you mean `image`?"),
        ("autoscaler: {memori: 1Gi}", "autoscaler.memori: unknown field; did you mean `memory`?"),
        ("runAsUser: 0", "runAsUser: Input should be greater than or equal to 1 (found 0)"),
        ("rayVersion: new", "rayVersion: "),
    ],
)
def test_wrong_settings_are_told(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, source="settings.yaml")
    assert caught.value.message.startswith("settings.yaml: ")
    assert message in caught.value.message


def test_all_wrong_fields_are_told() -> None:
    with pytest.raises(SpecError) as caught:
        parse("pollSeconds: -1\njobTtlSeconds: -1")
    assert "pollSeconds" in caught.value.message
    assert "jobTtlSeconds" in caught.value.message
